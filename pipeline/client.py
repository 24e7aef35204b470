"""The official ``openai`` client, tamed: what it may read, log and reveal.

Guarantees: one request, tried once; a body above `MOST_BYTES` is refused as it comes in, never held;
no redirect is followed; every error is a `Trouble` that says who is at fault, without the key.
Does not: try again, wait its turn, or heed proxies that the environment names.
"""

import asyncio
import logging
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial

import httpx2
import openai

from pipeline import chat
from pipeline.throttle import Outcome, retry_after_s

MOST_BYTES = 16 * 2**20  # of an answer; 65,536 tokens with their log-probabilities are 10 MB
CONNECT_S = 20.0
IDLE_S = 60.0  # after which a connection that nobody needed is closed
OVERLOADED = {429, 503, 529}
BARRED = {401, 402, 403, 404, 405, 410}
AGAIN = {408, 409, 425}
# At DEBUG they would write headers, into which a server may echo the key.
for _name in ("openai", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Trouble(Exception):
    """A request without a usable answer. ``final``: asking again would bring the same."""

    def __init__(
        self, why: str, outcome: Outcome, *, final: bool = False, rest_s: float | None = None
    ) -> None:
        super().__init__(why)
        self.outcome, self.final, self.rest_s = outcome, final, rest_s


class Secret:
    """A key that does not show itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(…)"

    def told(self) -> str:
        return self._value or "-"

    def within(self, text: str) -> bool:
        return bool(self._value) and str(self._value) in text

    def out_of(self, text: str) -> str:
        """The text with the key, wherever it stands, blotted out."""
        return text.replace(self._value, "[key]") if self._value else text


class Client:
    """One server's; of one event loop. ``url`` is its base URL."""

    def __init__(self, url: str, key: Secret, trust: ssl.SSLContext) -> None:
        self._key = key
        http = httpx2.AsyncClient(
            transport=_Connections(trust), timeout=None, follow_redirects=False
        )
        self._openai = openai.AsyncOpenAI(
            base_url=url, api_key=key.told(), max_retries=0, http_client=http, timeout=None
        )

    async def ask(self, body: bytes, session: str, timeout_s: float) -> bytes:
        """Posts a chat completion: the body of the answer.

        Raises:
            Trouble: if there is none.
        """
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # a small body must not become a large one
            "X-Session-ID": session,  # by which routers keep a session on one replica
        }
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._openai.post(
                    "/chat/completions",
                    cast_to=httpx2.Response,
                    content=body,
                    options={"headers": headers},
                )
                return answer.content
        except TimeoutError:
            raise Trouble(f"no answer within {timeout_s:g} s", Outcome.LATE) from None
        except openai.APIStatusError as error:
            raise self._refused(error.response) from None
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise self._broken(error) from None

    async def close(self) -> None:
        await self._openai.close()

    def _refused(self, response: httpx2.Response) -> Trouble:
        """By status: an overloaded server, one that bars us, a broken one, or a bad request."""
        status = response.status_code
        why = self._told(f"status {status}: {chat.reason(response.content)}")
        rest_s = retry_after_s(response.headers.get("retry-after"))
        if status in OVERLOADED:
            return Trouble(why, Outcome.OVERLOADED, rest_s=rest_s)
        if status in BARRED or status < 400:
            return Trouble(why, Outcome.BARRED)
        if status in AGAIN or status >= 500:
            return Trouble(why, Outcome.FAILED, rest_s=rest_s)
        if "max_completion_tokens" in why:
            why += " (the policy's field for that: limit_as: max_completion_tokens)"
        return Trouble(why, Outcome.UNKNOWN, final=True)

    def _broken(self, error: BaseException) -> Trouble:
        """By the causes of what the client raised."""
        causes = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and len(causes) < 20:
            causes.append(cause)
        for cause in causes:
            if isinstance(cause, _TooLarge):
                return Trouble(str(cause), Outcome.FAILED)
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Trouble(
                    f"its certificate is not trusted ({cause.verify_message}): put the certificate of "
                    "its authority into a file, and name that in SSL_CERT_FILE",
                    Outcome.BARRED,
                )
        last = causes[-1]
        return Trouble(
            self._told(f"the connection broke: {type(last).__name__}: {last}"), Outcome.FAILED
        )

    def _told(self, words: str) -> str:
        return chat.brief(self._key.out_of(words))  # in this order: a key that is cut is not found


def trusted() -> ssl.SSLContext:
    """The authorities of this machine, or those in ``$SSL_CERT_FILE``."""
    return ssl.create_default_context()


class _TooLarge(httpx2.ReadError):
    """A body beyond what an answer can be."""


class _Connections(httpx2.AsyncBaseTransport):
    """A transport for each request under way, which keeps its one connection; bodies are capped.

    One for all would look through all its connections at every request, and ask the system of each.
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._every: set[httpx2.AsyncHTTPTransport] = set()
        # Each with the time since when; the one that was used last is at the end, and is the next.
        self._free: deque[tuple[httpx2.AsyncHTTPTransport, float]] = deque()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions["timeout"] = {"connect": CONNECT_S}
        lent = self._free.pop()[0] if self._free else self._another()
        response = None
        try:
            await self._close_idle()
            response = await lent.handle_async_request(request)
        finally:
            if response is None:
                self._give_back(lent)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Capped(response.stream, partial(self._give_back, lent))
        length = response.headers.get("content-length", "")
        if (length.isdecimal() and int(length) > MOST_BYTES) or (
            response.headers.get("content-encoding", "identity") != "identity"
        ):
            await response.aclose()
            raise _TooLarge(
                f"an answer of {length or 'hidden'} bytes, at most {MOST_BYTES} are read"
            )
        return response

    def _another(self) -> httpx2.AsyncHTTPTransport:
        kept = httpx2.Limits(max_connections=None, max_keepalive_connections=1)
        made = httpx2.AsyncHTTPTransport(verify=self._trust, limits=kept)
        self._every.add(made)
        return made

    def _give_back(self, lent: httpx2.AsyncHTTPTransport) -> None:
        self._free.append((lent, time.monotonic()))

    async def _close_idle(self) -> None:
        """The one that was idle for longest, if it was so for too long: a server gave it up, too."""
        if self._free and time.monotonic() - self._free[0][1] > IDLE_S:
            idle, _ = self._free.popleft()
            self._every.remove(idle)
            await idle.aclose()

    async def aclose(self) -> None:
        for transport in self._every:
            await transport.aclose()


class _Capped(httpx2.AsyncByteStream):
    """A body of at most `MOST_BYTES`; ``done`` is called when nothing more is read of it."""

    def __init__(self, stream: httpx2.AsyncByteStream, done: Callable[[], None]) -> None:
        self._stream, self._done = stream, [done]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > MOST_BYTES:
                raise _TooLarge(f"an answer of more than {MOST_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            while self._done:  # once, however often it is closed
                self._done.pop()()
