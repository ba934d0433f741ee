"""A model's own process: ``python -m tidemill.sandbox.launch ... tidemill.model_server.runtimes.child_main FD``.

It is confined before this module is imported (`tidemill.sandbox`). Loads one model and answers one request after
another over a socket. Ends when the model server is gone. Each answer brings back what the request is known by.
"""

import socket
import sys
from pathlib import Path
from typing import IO, Any

from tidemill.adapters.model_loading import LoadedModel, load_model
from tidemill.kit import startup
from tidemill.kit.errors import Invalid, TidemillError, to_record
from tidemill.kit.limits import MAX_ANSWER_BYTES
from tidemill.model_server.runtimes.frames import build_frame, plain_outputs
from tidemill.model_server.runtimes.messages import HEADER_BYTES, body_length, packed, unpacked


def main() -> None:
    descriptor = int(sys.argv[1])
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as incoming:
        _serve(channel, incoming)


def _serve(channel: socket.socket, incoming: IO[bytes]) -> None:
    order = _receive(incoming)
    if order is None:
        return
    startup.begin()
    try:
        model = load_model(Path(order["directory"]), order["flavor"], runs_code=order["runs_code"])
    except Exception as error:  # noqa: BLE001 - loading runs code of the model's maker
        channel.sendall(_refusal(_told(error, "model_not_loadable"), order))
        return
    startup.done()
    channel.sendall(packed({"ready": True, "question": order["question"]}))
    while (request := _receive(incoming)) is not None:
        channel.sendall(_answer(model, order["types"], request))


def _answer(model: LoadedModel, types: dict[str, str], request: dict[str, Any]) -> bytes:
    try:
        outputs = plain_outputs(model.predict(build_frame(request["columns"], types), request["params"]))
        answer = packed(
            {
                "prediction": outputs.prediction,
                "probabilities": outputs.probabilities,
                "classes": outputs.classes,
                "question": request["question"],
            }
        )
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        return _refusal(_told(error, "model_failed"), request)
    if len(answer) > MAX_ANSWER_BYTES:
        too_large = Invalid("prediction_too_large", "The model's answers are too large to be recorded.")
        return _refusal(too_large, request)
    return answer


def _refusal(error: TidemillError, request: dict[str, Any]) -> bytes:
    return packed({"error": to_record(error), "question": request["question"]})


def _told(error: Exception, code: str) -> TidemillError:
    if isinstance(error, TidemillError):
        return error
    return Invalid(code, f"The model failed ({type(error).__name__}).")


def _receive(incoming: IO[bytes]) -> dict[str, Any] | None:
    header = incoming.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    length = body_length(header)
    body = incoming.read(length)
    return unpacked(body) if len(body) == length else None


if __name__ == "__main__":
    main()
