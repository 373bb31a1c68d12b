"""`boneray download`: licence, citation and what to do by hand; it needs no network to say so."""

import json
import sys

import pytest


def test_where_a_login_is_needed_it_says_what_to_fetch_and_where_to_put_it(boneray, tmp_path):
    done = boneray("download", "rsna-cervical", "--out", tmp_path / "raw")
    assert done.code == 0 and "Kaggle account" in done.err and str(tmp_path / "raw") in done.err
    assert "licence: LicenseRef-RSNA-noncommercial" in done.err
    assert not (tmp_path / "raw").exists()


def test_the_licence_must_be_accepted(boneray, tmp_path):
    done = boneray("download", "totalsegmentator", "--out", tmp_path / "raw")
    assert done.code == 2 and "give --accept-licence" in done.err and "CC-BY-4.0" in done.err
    assert not (tmp_path / "raw").exists()


def test_without_a_folder_it_only_tells(boneray):
    done = boneray("download", "xrayto3d-femur")
    assert done.code == 0 and "xrayto3d-femur is made of totalsegmentator-v1" in done.err
    told = json.loads(boneray("download", "ctspine1k", "--json").out)
    assert told["files"] == [] and "data_split.txt" in told["by_hand"]


def test_an_unknown_data_set_is_named(boneray):
    done = boneray("download", "totalsegmentatr")
    assert done.code == 2 and "totalsegmentator" in done.err


def test_without_pooch_it_says_what_to_install(boneray, tmp_path, monkeypatch):
    from boneray.datasets import download

    monkeypatch.setitem(sys.modules, "pooch", None)  # as if it were not installed
    remote = download.Remote("table.csv", "http://127.0.0.1:9/table.csv")
    monkeypatch.setitem(download.SOURCES, "verse19", download.Source(files=(remote,)))
    done = boneray("download", "verse19", "--out", tmp_path / "raw", "--accept-licence")
    assert done.code == 2 and done.out == ""
    assert done.err.splitlines()[-1].endswith("fetching needs pooch; install it with: pip install 'boneray[download]'")
    assert not list((tmp_path / "raw").iterdir())


def test_it_fetches(boneray, tmp_path, monkeypatch):
    pytest.importorskip("pooch", reason="the extra `download` (pooch) is not installed")
    from boneray.datasets import download

    (tmp_path / "table.csv").write_text("a;b\n")
    remote = download.Remote("table.csv", (tmp_path / "table.csv").as_uri())
    monkeypatch.setitem(download.SOURCES, "verse19", download.Source(files=(remote,)))
    done = boneray("download", "verse19", "--out", tmp_path / "raw", "--accept-licence")
    assert done.code == 0 and "table.csv: 4 bytes, sha256" in done.err
    assert (tmp_path / "raw" / "table.csv").read_text() == "a;b\n"
