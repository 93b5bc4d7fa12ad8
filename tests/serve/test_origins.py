"""Which pages may use the server, whatever their names."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pinxit.serve.errors import ApiError
from pinxit.serve.origins import check_origin, cors_headers

HOSTS = st.from_regex(r"[a-zA-Z0-9.-]{1,12}(:[0-9]{1,5})?", fullmatch=True).map(str.encode)
SCOPE = {"method": "POST"}


@given(own=HOSTS, foreign=HOSTS, scheme=st.sampled_from([b"http", b"https"]))
@example(b"localhost:8000", b"a.example", b"http")  # before and after it in the alphabet
@example(b"localhost:8000", b"z.example", b"http")
@example(b"localhost:8000", b"localhost:800", b"http")
@example(b"localhost:8000", b"localhost:80000", b"http")
def test_only_the_pages_of_the_server_itself_may_use_it(own, foreign, scheme):
    headers = {b"host": own, b"origin": scheme + b"://" + own.swapcase()}
    check_origin(SCOPE, headers, ())
    assert cors_headers(headers, ("*",)) == []  # of its own pages nothing is asked
    if foreign.lower() == own.lower():
        return
    headers[b"origin"] = scheme + b"://" + foreign
    with pytest.raises(ApiError, match="allow-origin"):
        check_origin(SCOPE, headers, ())
    check_origin(SCOPE, headers, (headers[b"origin"].decode().lower(),))
    assert cors_headers(headers, ()) == []
    assert (b"access-control-allow-origin", headers[b"origin"]) in cors_headers(headers, ("*",))


@pytest.mark.parametrize("origin", [b"null", b"", b"localhost:8000", b"http:/localhost:8000"])
def test_an_origin_that_is_no_address_is_foreign(origin):
    with pytest.raises(ApiError):
        check_origin(SCOPE, {b"host": b"localhost:8000", b"origin": origin}, ())
