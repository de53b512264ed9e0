"""Looks at the files of an image, which come as a tar archive on standard input.

    files.py USER DATA-FOLDER BINARY    USER is a number; BINARY is a path for a copy of usr/local/bin/firstcome
"""

import posixpath
import sys
import tarfile

# With any of these in the image, who breaks in has a program to go on with.
TOOLS = set(
    "sh bash dash ash zsh busybox toybox apt apt-get dpkg rpm apk perl python python3 curl wget cargo rustc gcc cc ld tar".split()
)
# The user's home in the base.
HOME = "home/nonroot"
BINARY = "usr/local/bin/firstcome"


def writable(member, user):
    """Whether the user may write to a file or folder of the image."""
    if member.issym():
        return False
    return bool(
        (member.uid == user and member.mode & 0o200)
        or (member.gid == user and member.mode & 0o020)
        or member.mode & 0o002
    )


def temporary(member):
    """Whether it is a folder of the base where everybody may have files of their own, as /tmp."""
    return member.isdir() and member.mode & 0o1002 == 0o1002


def mistakes(archive, user, data, copy, counts):
    """What should not be in the image."""
    seen, free = set(), {HOME}
    for member in archive:
        path = posixpath.normpath(member.name).lstrip("/")
        seen.add(path)
        counts["files"] += member.isfile()
        counts["bytes"] += member.size
        if path.startswith(("dev/", "proc/", "sys/")):
            continue
        if posixpath.basename(path) in TOOLS and not member.isdir():
            yield f"{path} is a tool"
        if member.mode & 0o6000 and member.isfile():
            yield f"{path} runs with the rights of its owner"
        if path == data:
            if not (member.isdir() and member.uid == user and not member.mode & 0o002):
                yield f"{path} is not a folder of user {user}"
        elif path.startswith(f"{data}/"):
            yield f"{path}: the data folder is not empty"
        elif posixpath.dirname(path) in free:
            yield f"{path} is a left-over"
        elif temporary(member):
            free.add(path)
        elif path not in free and writable(member, user):
            yield f"{path} can be changed by user {user}"
        if path.startswith("usr/local/") and member.isfile() and path != BINARY:
            yield f"{path} does not belong to the image"
        if path == BINARY:
            with open(copy, "wb") as file:
                file.write(archive.extractfile(member).read())
    for path in (data, BINARY):
        if path not in seen:
            yield f"{path} is not in the image"


def main():
    user, data, copy = int(sys.argv[1]), sys.argv[2].lstrip("/"), sys.argv[3]
    counts = {"files": 0, "bytes": 0}
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        found = list(mistakes(archive, user, data, copy, counts))
    print("\n".join(found), file=sys.stderr)
    print(f"{counts['files']} files, {counts['bytes'] // 2**20} MiB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
