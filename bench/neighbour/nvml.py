"""What NVIDIA's driver says of its GPUs and who uses them, to stand beside what a worker made of it."""
import ctypes

SUCCESS = 0
MOST = 64


class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong),
                ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


class Sample(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("time_us", ctypes.c_ulonglong), ("sm", ctypes.c_uint),
                ("memory", ctypes.c_uint), ("encoder", ctypes.c_uint), ("decoder", ctypes.c_uint)]


class Rates(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Driver:
    """Raises OSError where there is no such driver."""

    def __init__(self):
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        if problem := self.call("nvmlInit_v2"):
            raise OSError(f"NVML: error {problem}")

    def call(self, name: str, *arguments) -> int | str:
        """0, the error, or that there is no such function."""
        function = getattr(self.library, name, None)
        return function(*arguments) if function else f"no {name}"

    def text(self, name: str, *arguments) -> str:
        text = ctypes.create_string_buffer(96)
        problem = self.call(name, *arguments, text, 96)
        return text.value.decode(errors="replace") if problem == SUCCESS else f"? ({problem})"

    def devices(self) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint()
        self.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        found = []
        for i in range(count.value):
            device = ctypes.c_void_p()
            if self.call("nvmlDeviceGetHandleByIndex_v2", i, ctypes.byref(device)) == SUCCESS:
                found.append(device)
        return found

    def users(self, device) -> str:
        listed, count = (Process * MOST)(), ctypes.c_uint(MOST)
        problem = self.call("nvmlDeviceGetComputeRunningProcesses_v3", device, ctypes.byref(count), listed)
        pids = [p.pid for p in listed[:count.value]] if problem == SUCCESS else f"error {problem}"
        samples, count = (Sample * MOST)(), ctypes.c_uint(MOST)
        problem = self.call("nvmlDeviceGetProcessUtilization", device, samples, ctypes.byref(count),
                            ctypes.c_ulonglong(0))
        used = ([(s.pid, f"{s.sm} %") for s in samples[:count.value]] if problem == SUCCESS
                else f"error {problem}")
        rates = Rates()
        problem = self.call("nvmlDeviceGetUtilizationRates", device, ctypes.byref(rates))
        whole = f"{rates.gpu} %" if problem == SUCCESS else f"error {problem}"
        return f"processes that compute: {pids}; busy by process: {used}; in all: {whole}"

    def describe(self) -> list[str]:
        version = self.text("nvmlSystemGetDriverVersion")
        return [f"GPU {i}, {self.text('nvmlDeviceGetName', d)}, driver {version}; {self.users(d)}"
                for i, d in enumerate(self.devices())] or ["NVML knows no GPU"]


def describe() -> list[str]:
    try:
        return Driver().describe()
    except OSError as e:
        return [f"no driver of NVIDIA: {e}"]
