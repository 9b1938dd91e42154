"""The attack table: each way in, and the tests that show what becomes of it.

A test is named by its file, its name without `test_`, and words that it must hold: the refusal that
the attack ends with, and the attack itself where one test shows many.
"""

from tests.security.attacks_by_documents import BY_DOCUMENTS
from tests.security.attacks_by_others import BY_OTHERS

ATTACKS = tuple(sorted((*BY_DOCUMENTS, *BY_OTHERS), key=lambda attack: attack.row))
