import errno

import pytest

from seqmend.errors import InputError, ResourceError
from seqmend.files import write_atomic, write_json


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError), write_atomic(path) as temporary:
        temporary.write_text(temporary.write_text("half"))
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [f.name for f in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("polars: full (os error 28)")])
def test_a_full_disk_is_a_missing_resource(tmp_path, error):
    with pytest.raises(ResourceError, match="cannot finish writing"), write_atomic(tmp_path / "x"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write here"), write_atomic(tmp_path / "file" / "x") as temporary:
        temporary.write_text("never")


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", float("nan"))
    assert not list(tmp_path.iterdir())
