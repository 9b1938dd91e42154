"""Attacks by packages, by what devices and people say, and by git."""

from tests.security.attack import Attack, Shown

DOCUMENTS = "security/test_documents.py"
OVER_HTTP = "security/test_over_http.py"
ENROLMENT = "security/test_enrolment_attacks.py"
RENEWAL = "security/test_renewal_attacks.py"
RESTORED = "security/test_restored.py"
RECEIPTS = "security/test_receipts.py"
AGENT_ENROLS = "agent/test_enrolment.py"
ON_DISK = "agent/test_trust_on_disk.py"
HOSTILE = "agent/test_fetch_hostile.py"
UNPACK = "agent/test_unpack.py"
SERVER = "server/test_device.py"
LOOK = "server/test_package_look.py"
YAML = "manifests/test_yaml_strict.py"
FOLLOW = "reconciler/test_follow.py"


BY_OTHERS = (
    Attack(
        23,
        "archives that lead out of their folder",
        (
            Shown(
                UNPACK,
                "a_hostile_member_is_refused_and_nothing_stays",
                ('"unsafe-name"', '"member-type"', '"duplicate-name"'),
            ),
            Shown(UNPACK, "a_link_chain_past_path_max_is_refused_at_its_first_link", ()),
            Shown(UNPACK, "a_folder_that_became_a_link_meanwhile_is_not_followed", ()),
            Shown(UNPACK, "modes_do_not_depend_on_the_umask", ()),
        ),
    ),
    Attack(
        24,
        "bombs and floods of members",
        (
            Shown(UNPACK, "a_bomb_of_zeros_is_stopped_by_the_signed_size", ('"expansion-cap"',)),
            Shown(
                UNPACK, "a_flood_of_members_is_stopped_by_the_signed_count", ('"too-many-files"',)
            ),
        ),
    ),
    Attack(
        25,
        "endless data, and lengths that are wrong, negative or cut short",
        (
            Shown(
                HOSTILE,
                "an_endless_body_is_stopped_right_behind_the_signed_size",
                ('"ChecksumMismatch"',),
            ),
            Shown(HOSTILE, "a_length_that_is_no_number_is_no_file", ('"-1"',)),
            Shown(
                "agent/test_fetch.py",
                "another_length_is_a_mismatch_before_a_byte_is_taken",
                ('"ChecksumMismatch"',),
            ),
            Shown("agent/test_fetch.py", "a_short_body_is_tried_again_and_then_fails", ()),
        ),
    ),
    Attack(
        26,
        "slow bodies, slow headers, a handshake that never ends",
        (
            Shown(HOSTILE, "a_body_that_drips_is_cut_by_its_speed", ('"too-slow"',)),
            Shown(HOSTILE, "headers_that_drip_are_cut_by_the_deadline", ('"deadline"',)),
            Shown(
                HOSTILE, "a_server_that_never_shakes_hands_is_cut_by_the_deadline", ('"deadline"',)
            ),
        ),
    ),
    Attack(
        27,
        "redirects to http, files, the neighbours, in a circle, with a password",
        (
            Shown(
                HOSTILE,
                "a_redirect_to_anything_but_https_is_refused",
                ('"scheme"', '"userinfo"', '"host"', "file:", "169.254.169.254"),
            ),
            Shown(HOSTILE, "redirects_are_followed_three_times_and_no_further", ('"redirects"',)),
        ),
    ),
    Attack(
        28,
        "a package URL that makes device or server ask its neighbours",
        (
            Shown(
                HOSTILE,
                "a_name_that_leads_to_the_device_itself_is_sent_nothing",
                ("leads to", "requests == []"),
            ),
            Shown(
                HOSTILE,
                "where_hosts_are_listed_no_others_are_asked",
                ("host: {host} is not listed", "files.example.com.evil.example"),
            ),
            Shown(
                LOOK,
                "unless_the_policy_names_it_no_neighbour_of_the_server_is_asked",
                ("2130706433", "169.254.169.254", "localhost"),
            ),
        ),
    ),
    Attack(
        29,
        "ids that are paths",
        (
            Shown(
                OVER_HTTP,
                "row_29_a_name_that_is_no_id_is_refused_before_any_look_up",
                ('"bad-field"', "../..", "dev1\\n"),
            ),
            Shown(OVER_HTTP, "row_29_for_people_such_a_name_is_of_nothing", ()),
            Shown(DOCUMENTS, "row_29_no_component_is_named_like_a_path", ('"bad-field"',)),
        ),
    ),
    Attack(
        30,
        "line ends and NUL in ids, versions and headers",
        (
            Shown(DOCUMENTS, "row_30_what_goes_into_a_line_is_one", ('"bad-field"', "\\0")),
            Shown(
                OVER_HTTP,
                "row_30_a_nonce_is_22_characters_and_a_sequence_a_whole_number",
                ("400", "\\0"),
            ),
            Shown(ON_DISK, "a_tag_that_could_not_be_sent_back_is_not_kept", ()),
            Shown(ON_DISK, "a_token_that_could_not_be_sent_back_is_none", ()),
            Shown(
                AGENT_ENROLS,
                "an_agent_whose_own_names_are_none_does_not_start",
                ("names no device",),
            ),
        ),
    ),
    Attack(
        31,
        "YAML that explodes or means two things; links in the repository",
        (
            Shown(YAML, "refuses_an_alias_where_it_is_used", ("an alias is not allowed",)),
            Shown(
                YAML,
                "refuses_with_the_position",
                (
                    "a tag is not allowed",
                    "a merge key is not allowed",
                    "stands here twice",
                    "Mark(",
                ),
            ),
            Shown(YAML, "keeps_the_first_of_two_equal_keys", ()),
            Shown(YAML, "refuses_depth_before_anything_recurses", ("more than 64",)),
            Shown(YAML, "refuses_a_file_that_is_too_large", ("larger than 256 KiB",)),
            Shown(FOLLOW, "a_file_that_is_no_yaml_any_more_is_never_a_removal", ()),
            Shown(FOLLOW, "a_broken_deployment_keeps_its_last_good_form_and_blocks_no_other", ()),
            Shown("manifests/test_repository.py", "links_and_submodules_are_no_files", ()),
        ),
    ),
    Attack(
        32,
        "forged and repeated requests",
        (
            Shown(
                OVER_HTTP,
                "row_32_a_session_that_the_device_did_not_sign_is_not_opened",
                ('"sig-count"', '"threshold"', '"payload-type"'),
            ),
            Shown(
                OVER_HTTP,
                "row_32_a_captured_session_request_buys_nothing",
                ('"clock"', '"nonce-reused"'),
            ),
            Shown(OVER_HTTP, "row_32_a_key_speaks_for_its_own_device_only", ("401",)),
            Shown(SERVER, "an_old_report_is_acknowledged_and_dropped", ("204", "report_seq")),
        ),
    ),
    Attack(
        33,
        "a taken id, a used token, a flood of requests to be known",
        (
            Shown(
                ENROLMENT,
                "whoever_enrols_under_a_taken_id_only_asks_for_a_change_of_its_key",
                ("keyChange", "unknown-device"),
            ),
            Shown(
                ENROLMENT,
                "of_twenty_who_share_one_use_of_a_token_exactly_one_gets_in",
                ("[201] + [403] * 19",),
            ),
            Shown(ENROLMENT, "a_token_of_another_organization_is_unknown_here", ("404",)),
            Shown(ENROLMENT, "of_ten_thousand_who_ask_only_so_many_wait", ("too-many-pending",)),
            Shown(
                ENROLMENT,
                "one_source_has_few_that_wait_and_asking_again_is_no_other_one",
                ("429",),
            ),
            Shown(
                RENEWAL,
                "two_machines_with_one_key_are_both_held_and_neither_renews_it",
                ("duplicate-identity",),
            ),
        ),
    ),
    Attack(
        34,
        "another organization's objects, a role that is too low",
        (
            Shown("server/test_every_route.py", "with_the_role_below_every_call_is_403", ()),
            Shown(
                "server/test_every_route.py",
                "what_another_organization_has_is_404_everywhere",
                (),
            ),
        ),
    ),
    Attack(
        35,
        "scripts in what devices say of themselves",
        (
            Shown(
                "server/test_dashboard_pages.py",
                "names_labels_and_messages_are_long_foreign_and_hostile",
                ("SCRIPT", "not in"),
            ),
            Shown(
                "server/test_dashboard_door.py",
                "a_page_has_strict_headers_and_nothing_inline",
                ("default-src 'none'",),
            ),
        ),
    ),
    Attack(
        36,
        "bodies without end",
        (
            Shown(
                OVER_HTTP,
                "row_36_a_flood_of_chunks_is_413_and_takes_no_memory",
                ("413", "_resident_mib"),
            ),
            Shown(SERVER, "a_body_is_counted_while_it_arrives", ("413",)),
        ),
    ),
    Attack(
        37,
        "a server that is restored from an old backup",
        (
            Shown(
                RESTORED,
                "row_37_a_server_that_is_restored_is_followed_by_its_devices",
                ('"RestoredFromBackup"', "approve"),
            ),
            Shown(
                "e2e/test_restore.py",
                "after_a_restore_nothing_is_refused_and_what_git_wants_waits_for_a_person",
                ('"RestoredFromBackup"', '"document.refused"', '"approve"'),
            ),
            Shown(RECEIPTS, "who_lies_proves_nothing", ()),
            Shown(
                RECEIPTS,
                "no_receipt_that_a_device_ever_got_proves_that_its_server_forgot",
                ("journal_begun_anew", "enrolled_anew"),
            ),
        ),
    ),
    Attack(
        38,
        "git that goes back; a commit dated back to when its key was good",
        (
            Shown(FOLLOW, "a_force_push_is_held_until_a_person_accepts_it", ("force push",)),
            Shown(FOLLOW, "a_commit_that_nobody_signed_who_may_is_held_whoever_accepts_it", ()),
            Shown(
                "manifests/test_signatures.py",
                "a_key_that_has_expired_does_not_count_though_the_commit_is_dated_back",
                (),
            ),
        ),
    ),
)
