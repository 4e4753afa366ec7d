"""Which arm answers a request: the same one for the same key, whatever the share was before.

A key is hashed to a place in [0, 1), and the challenger answers the places below its share. So a
share that grows takes keys from the champion only, and no key goes back and forth.
"""

import hashlib


def place_of(key: str, experiment: str) -> float:
    """Where a key lies in [0, 1).

    Args:
        key: of the request.
        experiment: what names the comparison, so that another one draws anew.
    """
    digest = hashlib.blake2b(f"{experiment}\0{key}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56
