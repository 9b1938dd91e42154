"""The checks of the server, of what it keeps, and of the repository that it follows."""

from tests.security.checked import Checked

OVER_HTTP = "security/test_over_http.py"
ENROLMENT = "security/test_enrolment_attacks.py"
RENEWAL = "security/test_renewal_attacks.py"
ADMISSIONS = "server/test_enrolments.py"
DEVICE = "server/test_device.py"
OLD_DEVICES = "server/test_old_devices.py"
DOOR = "server/test_dashboard_door.py"
CLOCK = "server/test_clock_guard.py"
POLLS = "server/test_poll_paths.py"
REPORTS = "server/test_report_paths.py"
PEOPLE = "server/test_admin_tokens.py"

_HTTP = (
    Checked(
        "towline/reconciler/server/wire.py",
        ("server/test_wire.py",),
        (("_HOST.fullmatch(text)", "_HOST.match(text)"),),
    ),
    Checked(
        "towline/reconciler/server/device.py",
        (DEVICE, OVER_HTTP, "server/test_device_rates.py", POLLS),
        (("_ROOT.fullmatch(number)", "_ROOT.match(number)"),),
    ),
    Checked(
        "towline/reconciler/server/reporting.py",
        (REPORTS, "security/test_receipts.py"),
        (("if (too_soon := self._polls.count(session, now)) is not None:", "if False:"),),
    ),
    Checked(
        "towline/reconciler/server/plain_calls.py",
        ("server/test_plain_calls.py", POLLS, REPORTS),
        (
            ("if self._begun != 1 or not self._is_plain:", "if not self._is_plain:"),
            ("if self._begun != 1 or not self._is_plain:", "if self._begun != 1:"),
            ("if missing != 0:", "if missing is None:"),
            ('self._parser.get_http_version() == "1.1"', "True"),
            ("and self._parser.should_keep_alive()", ""),
            ("and _UNUSUAL.isdisjoint(self._headers)", ""),
        ),
    ),
    Checked(
        "towline/reconciler/server/device_connection.py",
        (POLLS, REPORTS),
        (
            ("or len(data) - len(call.body) > BESIDE_LIMIT", ""),
            ('or b"#" in query', ""),
            ('or b"content-length" in call.headers', ""),
            ('or b"content-length" not in call.headers', ""),
            ("if length > DEVICE_BODY_LIMIT:", "if False:"),
            ("elif wire.arriving.size + length > wire.ARRIVING_LIMIT:", "elif False:"),
            ("if self._beside > BESIDE_LIMIT:", "if False:"),
            ("not self._is_begun", "True"),
            ("and not self.flow.write_paused", ""),
        ),
    ),
    Checked(
        "towline/reconciler/server/polls.py",
        (OVER_HTTP, DEVICE, CLOCK, POLLS),
        (
            ("_NONCE.fullmatch(nonce)", "_NONCE.match(nonce)"),
            ("_SEQUENCE.fullmatch(sequence)", "_SEQUENCE.match(sequence)"),
            ('token if scheme == b"Bearer" else b""', "token"),
            ("if (too_soon := self.count(session, now)) is not None:", "if False:"),
            ("if (refused := self._clock.refusal()) is not None:", "if False:"),
            ("if not session.is_live:", "if False:"),
        ),
    ),
    Checked(
        "towline/reconciler/server/device_rates.py",
        ("server/test_device_rates.py",),
        (
            ("if ahead_s + self._step_s > BURST_S:", "if False:"),
            ("return answer.status in range(400, 500) and", "return"),
        ),
    ),
    Checked("towline/reconciler/server/strangers.py", ("server/test_device_rates.py",)),
    Checked(
        "towline/reconciler/server/buckets.py",
        ("server/test_buckets.py",),
        (
            ("is_there = left >= 1", "is_there = True"),
            ("return 0 if left >= 1 else", "return 0 if True else"),
            ("if len(self._left) > self._most:", "if False:"),
        ),
    ),
    Checked(
        "towline/reconciler/server/clock_guard.py",
        (CLOCK,),
        (
            ("return newest - now if newest - now > TOLERANCE_S else 0", "return 0"),
            ("return expected - now > TOLERANCE_S", "return False"),
            ("known = max(newest, self._look.newest)", "known = newest"),
        ),
    ),
    Checked(
        "towline/reconciler/server/sessions.py",
        (DEVICE, "server/test_sessions.py"),
        (
            ("session is not None and session.expires_at > now", "session is not None"),
            ("session.is_live = False", "pass"),
        ),
    ),
    Checked(
        "towline/reconciler/server/receipts.py",
        ("server/test_receipts.py",),
        (
            ("_RECEIPT.fullmatch(text)", "_RECEIPT.match(text)"),
            ("if hmac.compare_digest(found[4], mark) else None", "if True else None"),
            ("{session.slug}\\0", ""),
            ("{heard.journals}\\0", ""),
            ("{heard.report_seq}\\0", ""),
            ("\\0{at}", ""),
            ("hmac.new(secret, ", "hmac.new(b'known', "),
        ),
    ),
    Checked(
        "towline/reconciler/server/plain_json.py",
        ("server/test_plain_json.py",),
        (("is_plain = orjson.dumps(found) == data", "is_plain = True"),),
    ),
    Checked("towline/reconciler/server/old_devices.py", (OLD_DEVICES,)),
    Checked(
        "towline/reconciler/server/package_look.py",
        ("server/test_package_look.py",),
    ),
    Checked(
        "towline/reconciler/server/desk.py",
        ("server/test_admin.py", "server/test_admin_acts.py", "server/test_audit.py"),
    ),
    Checked(
        "towline/reconciler/server/callers.py",
        ("server/test_admin.py", PEOPLE, "server/test_every_route.py", DOOR),
        (('recognise(token) if scheme == "Bearer" else None', "recognise(token)"),),
    ),
    Checked("towline/reconciler/server/given_labels.py", (OLD_DEVICES,)),
    Checked(
        "towline/reconciler/server/dashboard/reception.py", (DOOR, "server/test_dashboard_acts.py")
    ),
    Checked(
        "towline/reconciler/server/dashboard/visits.py",
        (DOOR, "server/test_dashboard_acts.py"),
        (
            ("hmac.compare_digest(self.csrf.encode(), csrf.encode())", "True"),
            ("if visit and visit.expires_at > now else None", ""),
        ),
    ),
    Checked("towline/reconciler/server/dashboard/provider_door.py", ("server/test_oidc.py",)),
    Checked(
        "towline/reconciler/server/oidc.py", ("server/test_oidc_provider.py", "server/test_oidc.py")
    ),
)

_KEPT = (
    Checked("towline/reconciler/server/admission.py", (ENROLMENT, RENEWAL, OVER_HTTP, DEVICE)),
    Checked(
        "towline/reconciler/store/access.py",
        (ENROLMENT, RENEWAL),
    ),
    Checked("towline/reconciler/store/nonces.py", (OVER_HTTP,)),
    Checked(
        "towline/reconciler/store/enrolling.py",
        (ENROLMENT, DEVICE, ADMISSIONS, "server/test_leaving.py"),
        (
            ("known is not None and known.key == who.key", "known is not None"),
            ("if git is not None and git.public_key is not None:", "if git is not None:"),
            ("if joined.to_pending:", "if False:"),
            ("enrolments.c.public_key == who.key.raw.hex(),", ""),
        ),
    ),
    Checked(
        "towline/reconciler/store/join_tokens.py",
        (ENROLMENT, DEVICE),
        (
            ("join_tokens.c.uses_left > 0, ", ""),
            (", join_tokens.c.expires_at > now", ""),
            ("join_tokens.c.organization == organization, ", ""),
        ),
    ),
    Checked(
        "towline/reconciler/store/admissions.py",
        ("server/test_admissions.py", ADMISSIONS),
        (
            ("[row for row in rows if _fingerprint(row) == _plain(said)]", "list(rows)"),
            (
                "c.slug == slug,\n            enrolments.c.created_at >",
                "c.slug == slug,\n            enrolments.c.created_at > 0 *",
            ),
        ),
    ),
    Checked("towline/reconciler/store/renewing.py", (RENEWAL,)),
    Checked(
        "towline/reconciler/store/reporters.py",
        ("security/test_receipts.py", "reconciler/test_reporters.py"),
        (
            ("said is not None and said.heard > self.heard", "said is not None"),
            ("            self.journals += 1", "            pass"),
            ("report.report_seq <= self.report_seq", "False"),
        ),
    ),
    Checked(
        "towline/reconciler/restored.py",
        ("security/test_receipts.py", "security/test_backups.py"),
        (
            (" or said.at <= repositories.restored_at(connection, reporter.organization)", ""),
            ("if head.commit.time > since or not since:", "if not since:"),
            ("if head.commit.time > since or not since:", "if True:"),
        ),
    ),
    Checked(
        "towline/reconciler/store/people.py",
        (PEOPLE, "server/test_admin.py", DOOR),
        (
            ("admin_tokens.c.id == parts[1], _is_live(now)", "admin_tokens.c.id == parts[1]"),
            (
                "if row is None or not hmac.compare_digest(row.digest, secret_digest(parts[2])):",
                "if row is None:",
            ),
            ("admin_tokens.c.id == token_id, _is_live(now)", "admin_tokens.c.id == token_id"),
            ("admin_tokens.c.revoked_at.is_(None),", ""),
            ("func.coalesce(admin_tokens.c.expires_at, now + 1) > now,", ""),
        ),
    ),
    Checked(
        "towline/reconciler/store/device_tokens.py",
        (OLD_DEVICES, "server/test_leaving.py"),
        ((', edge_devices.c.state == "active"', ""),),
    ),
    Checked("towline/reconciler/store/leaving.py", ("server/test_leaving.py",)),
    Checked(
        "towline/reconciler/store/git_devices.py",
        ("reconciler/test_git_devices.py", "reconciler/test_every_device.py"),
    ),
    Checked("towline/reconciler/store/bound.py", ("reconciler/test_bound.py",)),
)

OF_SERVER = (*_HTTP, *_KEPT)

OF_GIT = (
    Checked(
        "towline/manifests/signatures.py",
        ("manifests/test_signatures.py",),
        (
            ("if not signature.startswith(_SSH):", "if False:"),
            ("given=signed).returncode == 0:", "given=signed).returncode >= 0:"),
        ),
    ),
    Checked(
        "towline/manifests/git_tree.py",
        ("manifests/test_repository.py",),
        (("if found[1] in _REGULAR:", "if True:"),),
    ),
    Checked("towline/manifests/repository.py", ("manifests/test_repository.py",)),
    Checked(
        "towline/manifests/yaml_strict.py",
        ("manifests/test_yaml_strict.py",),
        (
            ("if decoration:", "if False:"),
            ("if not isinstance(node, Scalar):", "if False:"),
            ("if key == _MERGE_KEY and not isinstance(node.value, str):", "if False:"),
            ("if key in parent.values:", "if False:"),
        ),
    ),
    Checked(
        "towline/reconciler/commits.py",
        ("reconciler/test_commits.py", "reconciler/test_follow.py"),
        (
            ("if facts.unsigned:", "if False:"),
            ("if facts.holding_errors:", "if False:"),
            ("if not facts.descends:", "if False:"),
            ("if facts.replaces_roots:", "if False:"),
            (
                "if _is_mass_removal(len(removed), len(facts.in_force), facts.max_removed):",
                "if False:",
            ),
        ),
    ),
)
