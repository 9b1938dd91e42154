"""Attacks by what is signed: documents, releases and roots."""

from tests.security.attack import Attack, Shown

DOCUMENTS = "security/test_documents.py"
PARSERS = "security/test_parsers.py"
ROOTS = "schemas/test_trust_oracles.py"
AGENT = "agent/test_end_to_end.py"
ON_DISK = "agent/test_trust_on_disk.py"
_TABLE = "an_attack_is_refused_with_its_code"


def _in_table(*words: str) -> Shown:
    """A row of the one test that bends a document in one place."""
    return Shown(DOCUMENTS, _TABLE, words)


BY_DOCUMENTS = (
    Attack(1, "any package, by a hacked server", (_in_table("1 own code", '"threshold"'),)),
    Attack(2, "another hash beside a true release", (_in_table("2 another", '"mix-and-match"'),)),
    Attack(
        3,
        "the release of another version, package or size",
        (
            _in_table("3 another version", "3 another component", "3 another size"),
            _in_table('"mix-and-match"'),
        ),
    ),
    Attack(4, "the wrong hardware", (_in_table("4 another", '"wrong-device-type"'),)),
    Attack(
        5,
        "another organization's release or document",
        (_in_table("5 another organization's release", "organization's document", '"wrong-org"'),),
    ),
    Attack(6, "another device's document", (_in_table("6 another device", '"wrong-device"'),)),
    Attack(7, "the predecessor's document", (_in_table("7 the predecessor", '"wrong-device"'),)),
    Attack(
        8,
        "a replay of an accepted document",
        (_in_table("8 a replay", '"nonce"'), Shown(AGENT, "a_replayed_document_is_refused", ())),
    ),
    Attack(
        9,
        "a replay after a wipe, also without a clock",
        (
            Shown(
                DOCUMENTS,
                "row_9_an_old_document_is_refused_after_a_wipe_also_without_a_clock",
                ('"nonce"', "BLIND"),
            ),
        ),
    ),
    Attack(10, "a lower sequence", (_in_table("10 one lower", '"rollback"'),)),
    Attack(
        11,
        "freezing: an expired document, or nothing new for ever",
        (
            _in_table("11 expired", "11 stale", '"expired"', '"past"'),
            Shown(
                ON_DISK,
                "an_answer_of_nothing_new_is_believed_until_the_document_expires_and_no_longer",
                ("Answer(304)", "WaitingForDocument"),
            ),
        ),
    ),
    Attack(12, "a document of ten years", (_in_table("12 ten years", '"lifetime"'),)),
    Attack(
        13,
        "a document of tomorrow; time poisoned where there is no clock",
        (
            _in_table("13 next month", '"future"'),
            Shown(
                DOCUMENTS,
                "row_13_the_online_key_cannot_push_time_beyond_the_root",
                ('"beyond-root"', "BLIND"),
            ),
        ),
    ),
    Attack(
        14,
        "a sequence beyond all others, or none",
        (
            _in_table("14 fast-forward", "14 a day and a bit", '"fast-forward"'),
            Shown(DOCUMENTS, "row_14_a_sequence_is_a_whole_number", ('"sequence-type"', "True")),
        ),
    ),
    Attack(
        15,
        "going back to a release with a hole",
        (
            _in_table("15 downgrade", '"rollback-index"'),
            Shown(AGENT, "a_release_below_the_committed_rollback_index_is_refused", ()),
        ),
    ),
    Attack(
        16,
        "an evil key under the online key's id",
        (
            Shown(
                DOCUMENTS,
                "row_16_an_evil_key_under_the_online_keys_id_does_not_count",
                ('"threshold"',),
            ),
        ),
    ),
    Attack(
        17,
        "one signature twice, one key under two ids",
        (
            Shown(DOCUMENTS, "row_17_one_signature_counts_once", ('"threshold"',)),
            Shown(
                ROOTS,
                "a_root_that_is_badly_made_is_refused_although_it_is_signed",
                ('"keyid-mismatch"', "twice"),
            ),
        ),
    ),
    Attack(
        18,
        "one kind of document for another",
        (
            Shown(DOCUMENTS, "row_18_a_release_key_cannot_sign_a_document", ('"threshold"',)),
            Shown(
                DOCUMENTS, "row_18_a_document_under_another_type_is_refused", ('"payload-type"',)
            ),
            Shown(DOCUMENTS, "row_18_another_kind_of_statement_is_refused", ('"predicate-type"',)),
        ),
    ),
    Attack(
        19,
        "a critical field that is not known; another version",
        (
            _in_table("19 unknown critical", '"unknown-critical"', "19 another version"),
            _in_table('"version"'),
        ),
    ),
    Attack(
        20,
        "a root with too few signatures, skipped, replayed, not signed by itself, expired",
        (
            Shown(
                ROOTS,
                "row_20_a_root_that_breaks_the_chain_is_refused",
                (
                    "1 of 2 signatures",
                    "by the online key",
                    "a skipped version",
                    "version 1 again",
                    "new keys that do not sign",
                    '"threshold"',
                    '"root-version"',
                ),
            ),
            Shown(DOCUMENTS, "row_20_an_expired_root_installs_nothing_more", ('"root-expired"',)),
        ),
    ),
    Attack(
        21,
        "a stolen online key, after the next root",
        (
            Shown(
                ROOTS,
                "row_21_a_stolen_online_key_is_of_no_use_after_the_next_root",
                ('"threshold"',),
            ),
            Shown(AGENT, "a_new_online_key_is_followed_through_the_chain_of_roots", ()),
            Shown(
                DOCUMENTS,
                "row_21_other_online_keys_end_what_a_stolen_one_did_to_sequence_and_time",
                (),
            ),
        ),
    ),
    Attack(
        22,
        "giant, deep, ambiguous and unreadable envelopes",
        (
            Shown(
                PARSERS,
                "row_22_what_is_no_envelope_is_refused",
                ('"too-large"', '"not-json"', '"duplicate-key"', '"nan"', '"sig-count"'),
            ),
            Shown(
                PARSERS,
                "row_22_what_was_signed_is_parsed_as_strictly",
                ('"not-json"', '"duplicate-key"', '"nan"'),
            ),
        ),
    ),
    Attack(
        39,
        "code in a document",
        (
            Shown(
                DOCUMENTS,
                "row_39_code_in_a_document_is_nothing_that_the_device_knows",
                ('"unknown-critical"', "healthCommand", "LD_PRELOAD"),
            ),
        ),
    ),
    Attack(
        40,
        "a stop at any write, a torn file",
        (
            Shown(
                ON_DISK,
                "a_stop_while_a_document_is_taken_leaves_the_old_or_the_new_one_and_never_less",
                (),
            ),
            Shown(
                ON_DISK,
                "a_spoilt_state_is_as_none_but_what_runs_still_forbids_what_is_older",
                (),
            ),
            Shown(
                "agent/test_crashes.py",
                "a_stop_before_or_after_a_write_ends_with_one_healthy_release_and_one_true_report",
                (),
            ),
        ),
    ),
)
