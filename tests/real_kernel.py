"""A real ipykernel, driven through jupyter_client as a front end drives it."""

from __future__ import annotations

import os
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from waiting import HUNG


@dataclass
class Outcome:
    """What a cell did: its reply, its outputs, and the updates of its displays."""

    reply: dict[str, Any]
    outputs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.reply["status"] == "ok")

    def texts(self) -> list[str]:
        return [output["data"]["text/plain"] for output in self.outputs if "data" in output]

    @property
    def stream(self) -> str:
        return "".join(output.get("text", "") for output in self.outputs)


class Kernel:
    """A real ipykernel, driven as a front end does.

    Parameters
    ----------
    variables
        Environment variables that it has besides those of this process.
    """

    def __init__(self, **variables: str) -> None:
        from jupyter_client.manager import start_new_kernel

        environment = {**os.environ, **variables}
        self.manager, self.client = start_new_kernel(startup_timeout=HUNG, kernel_name="python3", env=environment)

    def run(self, code: str, interrupts: tuple[float, ...] = ()) -> Outcome:
        """Run a cell; send SIGINT at the given seconds after its start."""
        message = self.client.execute(code)
        started = time.monotonic()
        timers = [threading.Timer(after, self.manager.interrupt_kernel) for after in interrupts]
        for timer in timers:
            timer.start()
        outputs: list[dict[str, Any]] = []
        idle = False
        while not idle and time.monotonic() - started < HUNG:
            try:
                incoming = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if incoming["parent_header"].get("msg_id") != message:
                continue
            kind, content = incoming["msg_type"], incoming["content"]
            idle = kind == "status" and content["execution_state"] == "idle"
            if kind in ("display_data", "execute_result", "update_display_data", "stream", "error"):
                outputs.append({"type": kind, **content})
        for timer in timers:
            timer.cancel()
        assert idle, f"no end after {HUNG} s: {code}"
        return Outcome(self._reply(message, bool(interrupts)), outputs, time.monotonic() - started)

    def _reply(self, message: str, interrupted: bool) -> dict[str, Any]:
        """Return the reply to a message.

        An interrupt that comes when the cell has just ended strikes ipykernel's own
        code, which logs it and sends no reply; that is an interrupt, too.
        """
        while True:
            try:
                reply = self.client.get_shell_msg(timeout=15 if interrupted else HUNG)
            except queue.Empty:
                if not interrupted:
                    raise
                return {"status": "error", "ename": "KeyboardInterrupt", "evalue": "the kernel sent no reply"}
            if reply["parent_header"].get("msg_id") == message:
                content: dict[str, Any] = reply["content"]
                return content

    def restart(self) -> None:
        """Kill the process, whatever it does, and start it anew, as a person does with a front end."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=HUNG)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
