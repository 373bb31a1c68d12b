"""Fetching: licence first, checksums, going on where it stopped, nothing outside of the folder. A server of our own."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from boneray.core.errors import ConfigError, DataError, InputError
from boneray.datasets.download import PARTIAL, SOURCES, Plan, Remote, Source, download, planned
from boneray.datasets.registry import DATASETS

pooch = pytest.importorskip("pooch", reason="the extra `download` (pooch) is not installed")


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


CONTENT = {
    "scans.zip": zipped(s0001__ct="one", s0002__ct="two"),
    "meta.csv": b"image_id;age\ns0001;61\n" * 500,
}


class Server:
    """Serves CONTENT and a Zenodo record of it; can cut an answer short and forget about ranges."""

    def __init__(self):
        self.asked, self.cut_after, self.ranges, self.checksums = [], None, True, {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range")))
                if self.path == "/records/77":
                    return self.send(json.dumps(outer.record()).encode(), 200, 0)
                content = CONTENT.get(self.path.strip("/"))
                if content is None:
                    return self.send_error(404)
                start = 0
                if outer.ranges and self.headers.get("Range"):
                    start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                    if start >= len(content):
                        return self.send_error(416)
                self.send(content[start:], 206 if start else 200, start)

            def send(self, content, code, start):
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if outer.cut_after is None else content[: outer.cut_after])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def record(self):
        return {
            "files": [
                {
                    "key": name,
                    "size": len(content),
                    "checksum": self.checksums.get(name) or f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"{self.url}/{name}"},
                }
                for name, content in CONTENT.items()
            ]
        }


@pytest.fixture
def server():
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


RECORD = Plan("totalsegmentator", "CC-BY-4.0", "cite", "https://example.org", Source(record="77"))


def fetch(server, out, plan=RECORD, **options):
    return download(plan, out, **{"accept_licence": True, "zenodo": f"{server.url}/records", **options})


def test_nothing_is_fetched_before_the_licence_is_accepted(server, tmp_path):
    with pytest.raises(InputError, match=r"under the licence CC-BY-4\.0 .* give --accept-licence"):
        fetch(server, tmp_path / "out", accept_licence=False)
    assert server.asked == [] and not (tmp_path / "out").exists()


def test_a_record_is_fetched_checked_and_unpacked_once(server, tmp_path):
    made = fetch(server, tmp_path)
    assert [(f["name"], f["checksum"]) for f in made["files"]] == [("scans.zip", "stated"), ("meta.csv", "stated")]
    assert (tmp_path / "s0002" / "ct").read_text() == "two" and made["unpacked"] == ["s0001/ct", "s0002/ct"]
    assert made["files"][1]["sha256"] == hashlib.sha256(CONTENT["meta.csv"]).hexdigest()
    server.asked.clear()
    again = fetch(server, tmp_path)
    assert [path for path, _ in server.asked] == ["/records/77"] and again["unpacked"] == []
    assert not list(tmp_path.glob(f"*{PARTIAL}"))


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_goes_on(server, tmp_path, ranges):
    server.cut_after, server.ranges = 4000, ranges
    with pytest.raises(InputError, match=r"meta\.csv.*run again to go on"):
        fetch(server, tmp_path)
    assert (tmp_path / f"meta.csv{PARTIAL}").stat().st_size == 4000
    server.cut_after = None
    server.asked.clear()
    fetch(server, tmp_path)
    assert ("/meta.csv", "bytes=4000-") in server.asked
    assert (tmp_path / "meta.csv").read_bytes() == CONTENT["meta.csv"]


def test_another_content_is_refused_and_removed(server, tmp_path):
    server.checksums["meta.csv"] = f"md5:{hashlib.md5(b'other').hexdigest()}"
    with pytest.raises(InputError, match=r"meta\.csv is not what its owners put there: its checksum is not md5:"):
        fetch(server, tmp_path)
    assert not (tmp_path / "meta.csv").exists() and not (tmp_path / f"meta.csv{PARTIAL}").exists()


def test_without_a_stated_checksum_the_first_fetch_is_remembered(server, tmp_path):
    plan = Plan("verse19", "x", "c", "u", Source(files=(Remote("meta.csv", f"{server.url}/meta.csv"),)))
    assert fetch(server, tmp_path, plan)["files"][0]["checksum"] == "none"
    assert fetch(server, tmp_path, plan)["files"][0]["checksum"] == "earlier"
    (tmp_path / "meta.csv").write_bytes(b"changed")
    server.asked.clear()
    fetch(server, tmp_path, plan)
    assert server.asked and (tmp_path / "meta.csv").read_bytes() == CONTENT["meta.csv"]


def test_a_file_address_is_fetched_and_gone_on_with(server, tmp_path):
    (tmp_path / "source").write_bytes(CONTENT["meta.csv"])
    plan = Plan("verse19", "x", "c", "u", Source(files=(Remote("m.csv", (tmp_path / "source").as_uri()),)))
    out = tmp_path / "out"
    out.mkdir()
    (out / f"m.csv{PARTIAL}").write_bytes(CONTENT["meta.csv"][:100])
    fetch(server, out, plan)
    assert (out / "m.csv").read_bytes() == CONTENT["meta.csv"]


def test_what_is_not_there_is_said(server, tmp_path):
    plan = Plan("verse19", "x", "c", "u", Source(files=(Remote("gone.zip", f"{server.url}/gone.zip"),)))
    with pytest.raises(InputError, match="404"):
        fetch(server, tmp_path, plan)
    with pytest.raises(InputError, match=r"records/78 cannot be reached"):
        fetch(server, tmp_path, Plan("x", "x", "c", "u", Source(record="78")))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(server, tmp_path / "file")


def tarred(member, content=b"x"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member.size = len(content) if member.isfile() else 0
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zip_link():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("inside")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("out.zip", zipped(**{"..__evil": "x"}), "leaves the folder"),
        ("abs.zip", zipped(__evil="x"), "leaves the folder"),
        ("link.zip", zip_link(), "a link or device"),
        ("out.tar.gz", tarred(tarfile.TarInfo("../evil")), "leaves the folder"),
        ("sym.tar.gz", tarred(link("a", "/etc", tarfile.SYMTYPE)), "a link or device"),
        ("hard.tar.gz", tarred(link("a", "/etc/passwd", tarfile.LNKTYPE)), "a link or device"),
    ],
    ids=["out.zip", "abs.zip", "link.zip", "out.tar.gz", "sym.tar.gz", "hard.tar.gz"],
)
def test_archives_that_reach_outside_are_refused(server, tmp_path, name, content, words):
    source = tmp_path / name
    source.write_bytes(content)
    plan = Plan("verse19", "x", "c", "u", Source(files=(Remote(name, source.as_uri()),)))
    out = tmp_path / "deep" / "out"
    with pytest.raises(DataError, match=words):
        fetch(server, out, plan)
    assert sorted(p.name for p in out.iterdir()) == [name]
    assert not (tmp_path / "deep" / "evil").exists()
    assert fetch(server, tmp_path / "kept", plan, unpack=False)["unpacked"] == []


def test_a_tar_is_unpacked(server, tmp_path):
    source = tmp_path / "masks.tar.gz"
    source.write_bytes(tarred(tarfile.TarInfo("masks/a.nii.gz"), b"abc"))
    plan = Plan("ctpelvic1k", "x", "c", "u", Source(files=(Remote("masks.tar.gz", source.as_uri()),)))
    assert fetch(server, tmp_path / "out", plan)["unpacked"] == ["masks/a.nii.gz"]
    assert (tmp_path / "out" / "masks" / "a.nii.gz").read_bytes() == b"abc"


def test_every_public_data_set_can_be_had_or_says_how():
    for entry in DATASETS:
        spec = entry.value
        if not spec.url:
            continue
        plan = planned(entry.name)
        assert plan.licence == spec.licence and plan.url
        assert plan.source.record or plan.source.files or "{out}" in plan.source.by_hand
    assert planned("xrayto3d-femur").name == "totalsegmentator-v1"
    assert set(SOURCES) <= {entry.name for entry in DATASETS}
    with pytest.raises(ConfigError, match="layout for data of your own"):
        planned("nnunet")
