"""Run in an environment with the clients of Triton and KServe: asks a server everything that they can ask, and prints what came as JSON.

python oip_clients.py http://127.0.0.1:8000 rows.json
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def attempt(call: Any, *arguments: Any, **options: Any) -> Any:
    """What a call returns, or the message of the protocol's error."""
    try:
        return call(*arguments, **options)
    except InferenceServerException as error:
        return {"refused": error.message(), "status": error.status()}


def tensors(metadata: Any, rows: list[dict[str, Any]], binary: bool) -> list[Any]:
    found = []
    for each in metadata["inputs"]:
        values = [row.get(each["name"]) for row in rows]
        if each["datatype"] == "FP64":
            array: Any = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        else:
            array = np.array(["" if value is None else value for value in values], dtype=object)
        tensor = triton.InferInput(each["name"], [len(rows)], each["datatype"])
        tensor.set_data_from_numpy(array, binary_data=binary)
        found.append(tensor)
    return found


def listed(result: Any, name: str) -> list[Any]:
    values = result.as_numpy(name).tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def ask_triton(host: str, rows: list[dict[str, Any]], report: dict[str, Any]) -> None:
    client = triton.InferenceServerClient(host)
    report["live"], report["ready"] = client.is_server_live(), client.is_server_ready()
    report["server"], metadata = client.get_server_metadata(), client.get_model_metadata("mushroom")
    report["metadata"] = metadata
    report["model_ready"] = [client.is_model_ready("mushroom"), client.is_model_ready("xgboost", "1"), client.is_model_ready("nobody")]
    report["index"] = client.get_model_repository_index()
    outputs = [triton.InferRequestedOutput(name, binary_data=name != "probability") for name in ("probability", "verdict")]
    ways: dict[str, dict[str, Any]] = {
        "binary": {"inputs": tensors(metadata, rows, True)},
        "json": {"inputs": tensors(metadata, rows, False), "outputs": [triton.InferRequestedOutput("verdict", binary_data=False)]},
        "mixed": {"inputs": tensors(metadata, rows, True), "outputs": outputs},
        "gzip": {"inputs": tensors(metadata, rows, True), "request_compression_algorithm": "gzip"},
        "deflate": {"inputs": tensors(metadata, rows, False), "request_compression_algorithm": "deflate"},
        "accepts_gzip": {"inputs": tensors(metadata, rows, True), "response_compression_algorithm": "gzip"},
        "version": {"inputs": tensors(metadata, rows, True), "model_name": "xgboost", "model_version": "1"},
        "parameters": {
            "inputs": tensors(metadata, rows, True),
            "request_id": "7",
            "priority": 1,
            "timeout": 10**6,
            "parameters": {"unit": "u1"},
        },
    }
    for way, options in ways.items():
        result = client.infer(**{"model_name": "mushroom", **options})
        head = result.get_response()
        report[way] = {
            "id": head.get("id"),
            "model": head["model_name"],
            "version": head["model_version"],
            "verdict": listed(result, "verdict"),
        }
        report[way]["outputs"] = [output["name"] for output in head["outputs"]]
        if way != "json":
            report[way]["probability"] = listed(result, "probability")
    whole = triton.InferInput("rows", [len(rows)], "BYTES")
    whole.set_data_from_numpy(np.array([json.dumps(row) for row in rows], dtype=object))
    report["rows"] = {"verdict": listed(client.infer("mushroom", [whole]), "verdict")}
    asynchronous = client.async_infer("mushroom", tensors(metadata, rows, True)).get_result()
    report["async"] = {"verdict": listed(asynchronous, "verdict")}
    empty = client.infer("mushroom", tensors(metadata, [], True))
    report["empty"] = listed(empty, "verdict")
    nothing, classes = triton.InferRequestedOutput("nothing"), triton.InferRequestedOutput("verdict", class_count=2)
    others = {
        "load": (client.load_model, "xgboost"),
        "unload": (client.unload_model, "xgboost"),
        "config": (client.get_model_config, "xgboost"),
        "statistics": (client.get_inference_statistics,),
        "statistics_of": (client.get_inference_statistics, "xgboost"),
        "trace": (client.get_trace_settings,),
        "update_trace": (client.update_trace_settings,),
        "log": (client.get_log_settings,),
        "update_log": (client.update_log_settings, {}),
        "system_memory": (client.get_system_shared_memory_status,),
        "register_system": (client.register_system_shared_memory, "a", "/a", 1),
        "unregister_system": (client.unregister_system_shared_memory,),
        "cuda_memory": (client.get_cuda_shared_memory_status,),
        "register_cuda": (client.register_cuda_shared_memory, "a", b"a", 0, 1),
        "unregister_cuda": (client.unregister_cuda_shared_memory,),
        "nobody": (client.get_model_metadata, "nobody"),
        "no_version": (client.get_model_metadata, "xgboost", "99"),
        "slash": (client.get_model_metadata, "a/b"),
        "infer_nobody": (client.infer, "nobody", tensors(metadata, rows, True)),
        "lacking": (client.infer, "mushroom", tensors(metadata, rows, True)[1:]),
        "wrong_output": (client.infer, "mushroom", tensors(metadata, rows, True), "", [nothing]),
        "classification": (
            client.infer,
            "mushroom",
            tensors(metadata, rows, True),
            "",
            [classes],
        ),
    }
    report["others"] = {name: attempt(call, *arguments) for name, (call, *arguments) in others.items()}
    report["others"]["load_config"] = attempt(client.load_model, "xgboost", config="{}")
    report["others"]["load_files"] = attempt(client.load_model, "xgboost", config="{}", files={"file:1/model.onnx": b"x"})
    client.close()


async def ask_triton_aio(host: str, rows: list[dict[str, Any]], report: dict[str, Any]) -> None:
    import tritonclient.http.aio as aio

    client = aio.InferenceServerClient(host)
    try:
        report["aio"] = {"live": await client.is_server_live(), "ready": await client.is_model_ready("mushroom")}
        metadata = await client.get_model_metadata("mushroom")
        result = await client.infer("mushroom", tensors(metadata, rows, True))
        report["aio"]["verdict"] = listed(result, "verdict")
    finally:
        await client.close()


async def ask_kserve(url: str, rows: list[dict[str, Any]], metadata: Any, report: dict[str, Any]) -> None:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=20))
    found = report["kserve"] = {"live": await client.is_server_live(url), "ready": await client.is_server_ready(url)}
    found["model_ready"] = await client.is_model_ready(url, "mushroom")
    for way, binary in (("binary", True), ("json", False)):
        inputs = []
        for each in metadata["inputs"]:
            values = [row.get(each["name"]) for row in rows]
            tensor = InferInput(name=each["name"], shape=[len(rows)], datatype=each["datatype"])
            if each["datatype"] == "FP64":
                tensor.set_data_from_numpy(np.array([np.nan if value is None else value for value in values]), binary_data=binary)
            else:
                tensor.set_data_from_numpy(np.array(["" if value is None else value for value in values], dtype=object), binary_data=binary)
            inputs.append(tensor)
        request = InferRequest(model_name="mushroom", infer_inputs=inputs)
        result = await client.infer(url, request, model_name="mushroom")
        by_name = {output.name: output for output in result.outputs}
        found[way] = [value.decode() if isinstance(value, bytes) else value for value in by_name["verdict"].as_numpy().tolist()]


def main() -> None:
    url, path = sys.argv[1:3]
    rows = json.loads(open(path, encoding="utf-8").read())  # noqa: PTH123, SIM115
    report: dict[str, Any] = {}
    ask_triton(url.removeprefix("http://"), rows, report)
    asyncio.run(ask_triton_aio(url.removeprefix("http://"), rows, report))
    asyncio.run(ask_kserve(url, rows, report["metadata"], report))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
