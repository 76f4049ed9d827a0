# SPDX-License-Identifier: Apache-2.0
"""A plan that cannot be ends the start with a sentence, before anything is touched."""
import pytest

from support.mistd import DidNotStart, Mistd


@pytest.mark.parametrize("plan, said", [
    ("store.comit:EIO", "store.comit is no fail point; see mistd --list-fail-points"),
    ("store.commit:EOI", "expected NAME:ACTION"),
    ("store.committed:EIO", "nothing can fail there"),
    ("store.commit:EIO@0", "expected @N or @N+"),
])
def test_a_plan_that_cannot_be_ends_the_start(plan, said):
    gateway = Mistd(env={"MIST_FAIL_POINTS": plan}, start=False)
    try:
        with pytest.raises(DidNotStart) as ended:
            gateway.start()
        assert ended.value.code == 1 and ended.value.stderr.startswith("mistd: MIST_FAIL_POINTS: ") and said in ended.value.stderr
        assert not gateway.data.exists()
    finally:
        gateway.close()
