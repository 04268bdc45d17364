"""Processors with AMX: user-mode-linux before 6.13 dies there in its first user process, unless this stands between.

Linux wants a process's whole extended state back (PTRACE_SETREGSET, NT_X86_XSTATE: 11008 bytes with AMX) and answers
EFAULT to less; user-mode-linux 6.1 keeps 2696 bytes, enough up to AVX-512. The library here takes the place of libc's
ptrace: it keeps the whole and lets user-mode-linux read and write the front part. Nothing inside may use AMX, which a
program would have to ask for first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

LIBRARY = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, X86_XSTATE = 0x202 };

static long kernel(long request, long pid, long address, void *data) {
  return syscall(SYS_ptrace, request, pid, address, data);
}

static long state(long request, long pid, struct iovec *front) {
  static __thread char bytes[65536];
  struct iovec whole = {bytes, sizeof bytes};
  if (kernel(GETREGSET, pid, X86_XSTATE, &whole) < 0) return -1;
  if (front->iov_len > whole.iov_len) front->iov_len = whole.iov_len;
  if (request == GETREGSET) { memcpy(front->iov_base, bytes, front->iov_len); return 0; }
  memcpy(bytes, front->iov_base, front->iov_len);
  return kernel(SETREGSET, pid, X86_XSTATE, &whole);
}

/* libc returns the word that was peeked, the kernel stores it. */
static long peek(long request, long pid, long address) {
  long word;
  if (kernel(request, pid, address, &word) < 0) return -1;
  errno = 0;
  return word;
}

long ptrace(int request, ...) {
  va_list rest;
  va_start(rest, request);
  long pid = va_arg(rest, int), address = va_arg(rest, long);
  void *data = va_arg(rest, void *);
  va_end(rest);
  if ((request == GETREGSET || request == SETREGSET) && address == X86_XSTATE) return state(request, pid, data);
  if (PEEK_FIRST <= request && request <= PEEK_LAST) return peek(request, pid, address);
  return kernel(request, pid, address, data);
}
"""


def is_here() -> bool:
    return re.search(r"\bamx_tile\b", Path("/proc/cpuinfo").read_text()) is not None


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def build(path: Path, *, cc: str) -> None:
    """The library, for LD_PRELOAD. Raises CalledProcessError with the compiler's words."""
    argv = [cc, "-O2", "-shared", "-fPIC", "-x", "c", "-o", str(path), "-"]
    subprocess.run(argv, input=LIBRARY, text=True, capture_output=True, check=True)
