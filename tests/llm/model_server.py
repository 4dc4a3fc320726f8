"""A real server process: serves the model in a folder by the OpenAI protocol, with echoed prompt log-probabilities.

`python model_server.py FOLDER` prints its address; /exact/v1 echoes, /label/v1 ignores that it should, /typed/v1 only
decides (System One).
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

import torch

from seqmend.llm import LocalModel, Question

LOCK = Lock()


def completion(model: LocalModel, body: dict, echoes: bool) -> dict:
    tokenizer = model.tokenizer
    prompt = tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
    ids = [model.tokens.first, *prompt]
    with torch.inference_mode():
        said = model.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    written = []
    for _ in range(body["max_tokens"]):  # greedy
        with torch.inference_mode():
            written.append(int(model.model(torch.tensor([ids + written])).logits[0, -1].argmax()))
    usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
    text, logprobs = tokenizer.decode(written), None
    if body.get("logprobs"):
        top = said[-1].topk(body["logprobs"])
        first = {tokenizer.decode([i]): v for i, v in zip(top.indices.tolist(), top.values.tolist(), strict=True)}
        logprobs = {"tokens": [tokenizer.decode([i]) for i in written], "token_logprobs": [-1.0] * len(written)}
        logprobs["top_logprobs"] = [first] if written else []
        if body.get("echo") and echoes:
            text = body["prompt"] + text
            values = [None, *(float(said[place, token]) for place, token in enumerate(prompt))]
            logprobs["tokens"] = [tokenizer.decode([i]) for i in ids] + logprobs["tokens"]
            logprobs["token_logprobs"] = values + logprobs["token_logprobs"]
    return {"choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": "length"}], "usage": usage}


def decision(model: LocalModel, state: str, asked: dict) -> dict:
    is_choice = asked["type"] == "choice"
    text = state if is_choice else f"{state} {asked['instructions']}"
    choices = tuple(asked["criteria"]) if is_choice else ("yes", "no")
    (answer,) = model.choose([Question(text, tuple(f" {choice}" for choice in choices))])
    shares = dict(zip(choices, answer.probabilities.tolist(), strict=True))
    return {"type": "choice", "probabilities": shares} if is_choice else {"type": "noul", "noul": shares["yes"]}


def main() -> None:
    model = LocalModel.load(sys.argv[1], device="cpu", dtype="float32")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, value: dict) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.reply(200, {"data": [{"id": "tiny", "created": 1, "meta": {"n_params": 1}}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with LOCK:
                if self.path in ("/exact/v1/completions", "/label/v1/completions"):
                    self.reply(200, completion(model, body, self.path.startswith("/exact/")))
                elif self.path == "/typed/v1/systemone":
                    said = {name: decision(model, body["state"], one) for name, one in body["questions"].items()}
                    self.reply(200, {"answers": said, "usage": {"input_tokens": len(body["state"]) // 4}})
                elif self.path == "/exact/v1/embeddings":
                    vectors = [v.tolist() for v in model.embed(body["input"])]
                    data = [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]
                    read = sum(len(model.tokenizer(text)["input_ids"]) for text in body["input"])
                    # As told by their index, in any order.
                    self.reply(200, {"data": data[::-1], "usage": {"prompt_tokens": read}})
                else:
                    self.reply(404, {"error": {"message": "no such place"}})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
