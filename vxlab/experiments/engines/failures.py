"""What went wrong, on one line, with the advice that fits."""

import errno
import signal
import traceback

# torch's allocators say so in a RuntimeError where they have no class for it: CPU (Linux, Windows), cuBLAS, MPS.
_MEMORY_PHRASES = (
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
    "cannot allocate memory",
    "out of memory",
    "cublas_status_alloc_failed",
)


def describe_failure(error: BaseException, workers: int = 1) -> str:
    """Return ``Type: message`` on one line; out of memory is said as such, with what to change.

    Args:
        error: the exception.
        workers: how many jobs share the machine's memory.

    >>> describe_failure(ValueError("rank=0\\nis too low"))
    'ValueError: rank=0 is too low'
    >>> describe_failure(MemoryError())
    "MemoryError: out of memory; use a smaller batch_size, max_length or resolution, or precision='bfloat16'"
    """
    message = one_line(str(error))
    if out_of_memory(error):
        told = f" ({message})" if message else ""
        return f"{type(error).__name__}: out of memory; {memory_advice(workers)}{told}"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def format_traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, from the job's own first frame on."""
    inside = error.__traceback__.tb_next if error.__traceback__ else None  # the first frame is the engine's
    return "".join(traceback.format_exception(type(error), error, inside or error.__traceback__))


def out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, of the processor or of the accelerator.

    >>> out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    >>> out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # torch.OutOfMemoryError is a RuntimeError, too, and names itself in its message.
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in _MEMORY_PHRASES)


def memory_advice(workers: int = 1) -> str:
    """Return what to change so that a run needs less memory."""
    choices = ["use a smaller batch_size, max_length or resolution", "precision='bfloat16'"]
    choices += ["fewer workers"] if workers > 1 else []
    return f"{', '.join(choices[:-1])}, or {choices[-1]}"


def death(exit_code: int | None, born: bool, workers: int = 1) -> str:
    """Return why a worker process ended before its job did.

    Args:
        exit_code: the process's; minus the number of the signal that killed it; None where it is unknown.
        born: whether the worker had come so far as to take jobs.
        workers: how many jobs share the machine's memory.

    >>> death(-11, True)
    'worker killed (SIGSEGV)'
    """
    if exit_code == -signal.SIGKILL:
        return f"worker killed (SIGKILL): often the system out of memory; {memory_advice(workers)}"
    if exit_code is not None and exit_code < 0:
        return f"worker killed ({_signal_name(-exit_code)})"
    if not born:
        return (
            f"worker ended (exit code {exit_code}) as it started, see its output above; a script that uses worker "
            "processes must start its work under `if __name__ == '__main__':`, for every worker imports the script"
        )
    return f"worker ended (exit code {exit_code})"


def one_line(message: str, longest: int = 500) -> str:
    """Return the message without line ends, cut where it is long: torch appends whole C++ stacks to some."""
    joined = " ".join(message.split())
    return joined if len(joined) <= longest else joined[: longest - 1] + "…"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
