"""Creates a folder like that of the original's notebook: RGBA PNG, lists in the root, labels of the archive, CRLF."""

from pathlib import Path

from PIL import Image

from data_prep.cifar import read_archive

LABELS = {"bicycle": 8, "motorcycle": 48}  # CIFAR-100's


def write_original(folder: Path, archive: Path) -> Path:
    """What the notebook makes of an archive."""
    content = read_archive(archive)
    for split, batch in content.splits.items():
        (folder / split).mkdir(parents=True)
        lines = []
        for row, label in enumerate(batch.labels):
            if (name := content.class_names[label]) in LABELS:
                Image.fromarray(batch.pixels(row)).convert("RGBA").save(folder / split / batch.filenames[row])
                lines.append(f"{row}\t{LABELS[name]}\t{batch.filenames[row]}\r\n")
        (folder / f"{split}.lst").write_text("".join(lines), newline="")
    return folder
