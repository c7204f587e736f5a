"""Reads a state machine's definition from its `.asl.yaml` file, and replaces the placeholders known at synthesis.

A definition is Amazon States Language in YAML. A placeholder `${Name}` stands for a limit from the configuration, a
retrier of retry_policy.py, a message, or another file's states. Values that only the deployment knows, such as ARNs,
are left to CloudFormation's DefinitionSubstitutions, which use the same form (state_machine.py).
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from stacks.shared import prefixes
from stacks.shared.retry_policy import ANY_FAILURE, INVOCATION, STEP_TIMEOUT_SECONDS, ImageRetries, retriers

Definition = dict[str, Any]

MESSAGES = Path(__file__).with_name("messages.yaml")  # used by the inline and the bulk workflows

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")

# Available in every file
_COMMON: Mapping[str, Any] = {
    "RetryInvocation": retriers(INVOCATION),
    "RetryAnyFailure": retriers([ANY_FAILURE]),
    "StepTimeoutSeconds": STEP_TIMEOUT_SECONDS,
    "ManifestsPrefix": prefixes.MANIFESTS,
}

_LONGEST_SUBJECT = 99  # characters; SNS takes 100
_LONGEST_LINE = 2_500  # characters, which keeps a message within SNS's 262,144 bytes
# Characters that are not printable by `str.isprintable`, among the 65,536 that a regular expression of JSONata can
# name: line breaks, control characters, marks that change the reading direction, and unusual spaces
_HIDDEN = (
    r"[\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb]"
)


def read_definition(path: Path, **values: Any) -> Definition:
    """The content of an `.asl.yaml` file, with placeholders replaced by `values`.

    A placeholder that is a whole YAML value is replaced by a value of any type, one within a string by text, and one
    that is a key by all entries of a mapping. Placeholders without a value stay. Raises ValueError for a value without
    a placeholder.
    """
    text = path.read_text(encoding="utf-8")
    if unused := set(values) - set(_PLACEHOLDER.findall(text)):
        raise ValueError(f"{path.name} has no placeholder for {', '.join(sorted(unused))}")
    # The safe loader in C is ten times as fast as the one in Python
    content: Definition = _filled(yaml.load(text, Loader=yaml.CSafeLoader), {**_COMMON, **values})
    return content


def image_states(retries: ImageRetries) -> Definition:
    """The states that classify one image, with these retries; the first is SerializeImageData."""
    states: Definition = read_definition(
        Path(__file__).with_name("classify_image.asl.yaml"),
        RetryStep=retriers(retries.step),
        RetryClassifier=retriers(retries.classifier),
        ClassifierTimeoutSeconds=retries.classifier_timeout_seconds,
    )["States"]
    return states


def read_messages(path: Path, **values: Any) -> dict[str, dict[str, str]]:
    """The arguments of the states that publish to the alert topic, by state.

    For each state the file has a `Subject` and `Lines`, in JSONata. The subject evaluates to a string; each line to a
    string, a list of strings, or nothing. They may quote untrusted text, which is cut and made visible.
    """
    return {
        state: {
            "TopicArn": "${AlertTopicArn}",
            "Subject": f"{{% {_visible(message['Subject'], longest=_LONGEST_SUBJECT)} %}}",
            "Message": f"{{% $join($map([{', '.join(message['Lines'])}], "
            f"function($line) {{ {_visible('$line', longest=_LONGEST_LINE)} }}), '\\n') %}}",
        }
        for state, message in read_definition(path, **values).items()
    }


def check_substitutions(machine: str, text: str, names: Collection[str]) -> None:
    """Raise ValueError where a machine's definition has a placeholder without a substitution, or the reverse."""
    if differing := set(_PLACEHOLDER.findall(text)) ^ set(names):
        raise ValueError(f"{machine}: placeholders and substitutions differ in {', '.join(sorted(differing))}")


def on_one_line(value: Any) -> Any:
    """The definition with each expression on one line, which the Step Functions console shows best."""
    if isinstance(value, dict):
        return {key: on_one_line(item) for key, item in value.items()}
    if isinstance(value, list):
        return [on_one_line(item) for item in value]
    return " ".join(value.split()) if isinstance(value, str) and value.startswith("{%") else value


def with_suffix(definition: Definition, suffix: str) -> Definition:
    """The definition with `suffix` appended to every state's name, which must be unique in the whole state machine."""

    def renamed(key: str, value: Any) -> Any:
        match key, value:
            case (("StartAt" | "Next" | "Default"), str()):
                return f"{value}{suffix}"
            case (("Arguments" | "Assign" | "Output"), _):
                return value
            case "States", dict():
                return {f"{name}{suffix}": renamed("", state) for name, state in value.items()}
            case _, dict():
                return {name: renamed(name, item) for name, item in value.items()}
            case _, list():
                return [renamed(key, item) for item in value]
        return value

    found: Definition = renamed("", definition)
    return found


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        found: Definition = {}
        for key, item in value.items():
            name = _PLACEHOLDER.fullmatch(key)
            found |= values[name[1]] if name else {key: _filled(item, values)}
        return found
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    if (name := _PLACEHOLDER.fullmatch(value)) and name[1] in values:
        return values[name[1]]
    return _PLACEHOLDER.sub(lambda name: str(values.get(name[1], name[0])), value)


def _visible(text: str, *, longest: int) -> str:
    """A JSONata expression for the text on one line, with U+FFFD in place of each character that is not printable.

    Keys, causes and errors may contain anything, and could otherwise forge lines of a mail. The manifest has them
    unchanged.
    """
    return f"$substring($replace({text}, /{_HIDDEN}/, '\\ufffd'), 0, {longest})"
