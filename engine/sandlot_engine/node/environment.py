"""What a function finds in its environment: AWS Lambda's variables and its own."""

from sandlot_engine.model.function import Function, Logging, Revision

# A tracer that finds no trace to add to, as at import, is to say so and go on: older
# ones raise unless they are told.
_OF_TRACERS = {"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"}

_DEFAULTS = {
    **_OF_TRACERS,
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "TZ": ":UTC",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task"
        ":/var/task/lib:/opt/lib"
    ),
}
"""The function's own settings come before these."""

_OF_PYTHON = {
    "PYTHONPATH": "/var/runtime",
    # Numeric libraries start a thread per core when they are imported, and a
    # process with threads cannot be cloned. One core is what most functions have.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # pyarrow's allocator starts one, too, to give memory back.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Its pool of threads stays after a batch, or a training; in a child of a fork it
    # does without by itself, and warns.
    "TOKENIZERS_PARALLELISM": "false",
    # onnxruntime's import starts two and a database, to tell its makers what is run.
    "ORT_DISABLE_TELEMETRY": "1",
}


def environment_of(
    function: Function, revision: Revision, region: str, *, is_snapshot: bool = False
) -> dict[str, str]:
    """Last wins: defaults, what the tenant set, what is AWS's alone."""
    config = revision.config
    if config.is_image:
        # What is in an image is where the image says.
        return {
            **_OF_TRACERS,
            **config.environment,
            **_of_function(function, revision, region),
        }
    return {
        **_DEFAULTS,
        **_of_language(config.runtime),
        **config.environment,
        "PWD": "/var/task",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        **_of_function(function, revision, region),
        "_HANDLER": config.handler,
        **_executed_by(config.runtime),
        **({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"} if is_snapshot else {}),
    }


def _of_function(function: Function, revision: Revision, region: str) -> dict[str, str]:
    config = revision.config
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group_of(function, revision),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        **_of_log(config.logging),
    }


def _of_language(runtime: str) -> dict[str, str]:
    if runtime.startswith("python"):
        return _OF_PYTHON
    if runtime.startswith("nodejs"):
        major = _base(runtime).removeprefix("nodejs").removesuffix(".x")
        modules = (f"node{major}/node_modules", "node_modules")
        layers = ":".join(f"/opt/nodejs/{folder}" for folder in modules)
        return {"NODE_PATH": f"{layers}:/var/runtime/node_modules:/var/task"}
    return {}


def _base(runtime: str) -> str:
    """Without an operator's label: AWS's name for what code finds there."""
    return runtime.partition("-")[0]


def _of_log(logging: Logging) -> dict[str, str]:
    if logging.format != "JSON":
        return {}
    level = logging.application_level or "INFO"
    return {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": level}


def _executed_by(runtime: str) -> dict[str, str]:
    if runtime.startswith("provided"):
        return {}
    return {"AWS_EXECUTION_ENV": f"AWS_Lambda_{_base(runtime)}"}


def log_group_of(function: Function, revision: Revision) -> str:
    """AWS's name for where its log goes."""
    return revision.config.logging.group or f"/aws/lambda/{function.name}"


def settings_of(
    function: Function, revision: Revision, region: str, *, import_in_zygote: bool
) -> dict[str, object]:
    """What the guest is told, over the zygote's channel."""
    wanted = revision.config.image_config
    of_image = {
        "entry_point": wanted.entry_point,
        "command": wanted.command,
        "working_directory": wanted.working_directory,
    }
    return {
        **({"image": of_image} if revision.config.is_image else {}),
        "handler": revision.config.handler,
        "version": function.version,
        "import_in_zygote": import_in_zygote,
        "environment": environment_of(
            function,
            revision,
            region,
            is_snapshot=import_in_zygote and function.has_snapshot,
        ),
    }
