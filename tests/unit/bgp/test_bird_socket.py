"""The control socket as its clients use it."""

import asyncio
from datetime import datetime
from pathlib import Path

from bgp.bird_socket import serving
from bgp.status import SpeakerStatus

MOMENT = datetime(2026, 11, 22, 6, 6, 51)
STATUS = SpeakerStatus(MOMENT, MOMENT, MOMENT)


async def ask(path: Path, *commands: str) -> list[str]:
    reader, writer = await asyncio.open_unix_connection(path)
    lines = [(await reader.readline()).decode()]
    for command in commands:
        writer.write(command.encode())
        while True:
            line = (await asyncio.wait_for(reader.readline(), 5)).decode()
            lines.append(line)
            if line[:5] in ("0000 ", "0013 ", "9001 ", ""):
                break
    writer.close()
    return lines


async def test_each_command_may_have_its_own_connection_or_share_one(tmp_path: Path) -> None:
    path = tmp_path / "calico" / "bird.ctl"
    async with serving(path, lambda: STATUS):
        first = await ask(path, "show protocols\n")
        assert (first[0], first[-1]) == ("0001 BIRD v1.6.8+tortie ready.\n", "0000 \n")
        both = await ask(path, "show status\n", "show route\n")
        assert [line for line in both if line[4] == " " and line[:4] != "    "] == [
            "0001 BIRD v1.6.8+tortie ready.\n",
            "0013 Daemon is up and running\n",
            "0000 \n",
        ]


async def test_a_client_that_talks_nonsense_or_goes_away_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "bird.ctl"
    async with serving(path, lambda: STATUS):
        assert (await ask(path, "make me a sandwich\n"))[-1] == "9001 syntax error\n"
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b"x" * 100_000)
        writer.close()
        _, writer = await asyncio.open_unix_connection(path)
        writer.transport.abort()
        assert (await ask(path, "show status\n"))[-1] == "0013 Daemon is up and running\n"


async def test_a_file_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bird.ctl"
    path.write_text("")
    async with serving(path, lambda: STATUS):
        assert (await ask(path, "show status\n"))[-1] == "0013 Daemon is up and running\n"
