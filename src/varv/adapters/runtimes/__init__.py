"""The runtimes that come with varv, each an adapter of the port `registry.ports.Runtime`.

They are entry points of the group ``varv.runtimes``, as everybody else's are. `app.compose` hands them to
training, which checks packages with them, and to serving, which answers with them.
"""

from varv.kernel.plugins import Plugins
from varv.registry.ports import Loader, Runtime, Runtimes, Surroundings

GROUP = "varv.runtimes"
OURS = {
    "lightgbm": "varv.adapters.runtimes.lightgbm:LightGbmRuntime",
    "onnx": "varv.adapters.runtimes.onnx:OnnxRuntime",
    "python": "varv.adapters.runtimes.python:PythonRuntime",
    "remote": "varv.adapters.runtimes.remote:RemoteRuntime",
    "torch": "varv.adapters.runtimes.torch:TorchRuntime",
    "transformers": "varv.adapters.runtimes.transformers:TransformersRuntime",
    "xgboost": "varv.adapters.runtimes.xgboost:XgBoostRuntime",
}


def installed_runtimes(around: Surroundings | None = None, apart: Loader | None = None) -> Runtimes:
    """Return every runtime there is, ours and others'.

    Parameters
    ----------
    around
        What there is where they load packages; on the processor, with nothing shared, by default.
    apart
        Where packages are loaded whose runtime runs their code; here if None.
    """
    plugins: Plugins[type[Runtime]] = Plugins(GROUP, "runtime", OURS, _is_runtime)
    return Runtimes(plugins, around, apart)


def _is_runtime(found: object) -> bool:
    return (
        isinstance(found, type)
        and hasattr(found, "load")
        and isinstance(getattr(found, "runs_code", None), bool)
    )


__all__ = ["GROUP", "OURS", "installed_runtimes"]
