"""A body that is kept is read again as often as it takes, as it arrived."""

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.http.forwarding.passed_request import KeptBody

REWIND = None


class Arriving(BytesIO):
    """A body that is arriving."""

    @property
    def is_over(self) -> bool:
        return self.tell() == len(self.getvalue())


@given(data=st.binary(max_size=20), steps=st.lists(st.integers(-1, 25) | st.just(REWIND)))
def test_it_reads_as_the_whole_body_would(data: bytes, steps: list[int | None]) -> None:
    arriving, whole, read = Arriving(data), BytesIO(data), 0
    body = KeptBody(arriving)

    for step in steps:
        if step is REWIND:
            body.rewind()
            whole.seek(0)
        else:
            assert body.read(step) == whole.read(step)
            read = max(read, whole.tell())
            assert arriving.tell() == read, "no more was taken from the connection than asked for"
    body.rewind()

    assert body.read() == data
    assert body.is_over
