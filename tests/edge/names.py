"""A DNS server on loopback: the names of services, with as many addresses as they have replicas."""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence

_HEADER = struct.Struct("!6H")
_ANSWER = struct.Struct("!HHHLH")
_A, _IN = 1, 1
_SECONDS_TO_LIVE = 600
"""Like Docker's: the edge must look again by itself."""


class Names:
    """``table`` may be changed while it runs."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        self.table = dict(table)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, client = self._socket.recvfrom(512)
            if not question:
                return
            self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        identifier = _HEADER.unpack_from(question)[0]
        labels, at = [], _HEADER.size
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        asked = question[_HEADER.size : at + 5]
        addresses = self.table.get(".".join(labels), ())
        head = _HEADER.pack(identifier, 0x8180 if addresses else 0x8183, 1, len(addresses), 0, 0)
        records = [
            _ANSWER.pack(0xC00C, _A, _IN, _SECONDS_TO_LIVE, 4) + socket.inet_aton(address) for address in addresses
        ]
        return head + asked + b"".join(records)
