"""Converts templates to a canonical form, in which two templates differ only if their resources do.

References are construct paths instead of logical ids and exports, JSON in strings (a state machine's definition, a
dashboard) is parsed, and lists without an order (statements, actions, tags) are sorted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.templates import Assembly

Key = tuple[str, str]  # stack and logical id

_BOOTSTRAP = {"BootstrapVersion", "CheckBootstrapVersion"}
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
# CDK creates these outputs for other stacks; they are shown where they are used
_REFERENCE_OUTPUT = re.compile(r"ExportsOutput(Ref|FnGetAtt)")


@dataclass(frozen=True)
class Resource:
    """A resource of a template or, with the logical id "", the rest of the template."""

    stack: str  # `dev/Data`
    name: str  # `Data/Bucket`: the construct's path in its environment
    type: str
    content: Mapping[str, Any]  # canonical
    references: Mapping[str, frozenset[Key]] = field(default_factory=dict)  # by property

    @property
    def environment(self) -> str:
        return self.stack.partition("/")[0]

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.content.get("Properties", {})
        return properties


def canonical(assembly: Assembly, *, names: Mapping[Key, str] | None = None) -> dict[Key, Resource]:
    """Every resource of every stack. names: names to use instead of construct paths."""
    reader = _Reader(assembly, names or {})
    resources: dict[Key, Resource] = {}
    for stack, template in assembly.templates.items():
        for logical_id, resource in template.get("Resources", {}).items():
            resources[stack, logical_id] = Resource(
                stack=stack,
                name=reader.name(stack, logical_id),
                type=resource["Type"],
                content=reader.resource(resource, stack),
                references={k: reader.references(value, stack) for k, value in resource.get("Properties", {}).items()},
            )
        rest = {
            section: {name: value for name, value in content.items() if not _is_noise(name)}
            if isinstance(content, dict)
            else content
            for section, content in template.items()
            if section not in {"Resources", "Metadata"}
        }
        rest = reader.form({section: content for section, content in rest.items() if content}, stack)
        resources[stack, ""] = Resource(stack=stack, name=stack.partition("/")[2], type="stack", content=rest)
    return resources


def sorted_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_noise(name: str) -> bool:
    return name in _BOOTSTRAP or bool(_REFERENCE_OUTPUT.match(name))


@dataclass(frozen=True)
class _Reader:
    assembly: Assembly
    names: Mapping[Key, str]

    def name(self, stack: str, logical_id: str) -> str:
        """The construct path without the environment, and without `Resource`, CDK's name for the main resource."""
        resource = self.assembly.templates[stack].get("Resources", {}).get(logical_id, {})
        path: str = resource.get("Metadata", {}).get("aws:cdk:path", f"{stack}/{logical_id}")
        return self.names.get((stack, logical_id), path.partition("/")[2].removesuffix("/Resource"))

    def resource(self, resource: Mapping[str, Any], stack: str) -> dict[str, Any]:
        kept = {key: value for key, value in resource.items() if key not in {"Metadata", "DependsOn"}}
        dependencies = resource.get("DependsOn", [])
        dependencies = [dependencies] if isinstance(dependencies, str) else dependencies
        if substitutions := kept.get("Properties", {}).get("DefinitionSubstitutions"):
            kept["Properties"] = self._substituted(kept["Properties"], substitutions, stack)
        content: dict[str, Any] = self.form(kept, stack)
        return {**content, "DependsOn": sorted(self._shown(stack, each) for each in dependencies)}

    def _substituted(self, machine: Mapping[str, Any], substitutions: Mapping[str, Any], stack: str) -> dict[str, Any]:
        """A state machine's properties, with the definition after substitution."""
        definition = self._text(machine["DefinitionString"], stack)
        values = {name: self._text(value, stack) for name, value in substitutions.items()}
        definition = _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), definition)
        rest = {name: value for name, value in machine.items() if name != "DefinitionSubstitutions"}
        return {**rest, "DefinitionString": definition}

    def references(self, value: Any, stack: str) -> frozenset[Key]:
        match value:
            case {"Ref": str(logical_id)} | {"Fn::GetAtt": [str(logical_id), _]}:
                return frozenset({(stack, logical_id)})
            case {"Fn::ImportValue": str(export)}:
                exported = self._exported(export)
                return self.references(*exported) if exported else frozenset()
            case dict() | list():
                items = value.values() if isinstance(value, dict) else value
                return frozenset[Key]().union(*(self.references(item, stack) for item in items))
        return frozenset()

    def form(self, value: Any, stack: str) -> Any:  # noqa: PLR0911 - one for each kind of value
        match value:
            case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::ImportValue": _} | {"Fn::Join": _} | {"Fn::Sub": str()}:
                return self._unfolded(self._text(value, stack), stack)
            case {"Statement": list(statements), **rest}:
                sorted_statements = sorted((self._statement(each, stack) for each in statements), key=sorted_json)
                return {**self.form(rest, stack), "Statement": sorted_statements}
            case dict():
                return {key: self.form(item, stack) for key, item in value.items()}
            case [{"Key": str(), "Value": _}, *_] | [{"Name": str(), "Value": _}, *_]:  # tags, dimensions
                named = {item.get("Key") or item.get("Name"): self.form(item.get("Value"), stack) for item in value}
                return named if len(named) == len(value) else [self.form(item, stack) for item in value]
            case list():
                return [self.form(item, stack) for item in value]
            case str():
                return self._unfolded(value, stack)
        return value

    def _statement(self, statement: Any, stack: str) -> dict[str, Any]:
        return {
            key: sorted(value if isinstance(value, list) else [value], key=sorted_json)
            if key in {"Action", "NotAction", "Resource", "NotResource"}
            else value
            for key, value in self.form(statement, stack).items()
        }

    def _unfolded(self, text: str, stack: str) -> Any:
        if not text.startswith(("{", "[")):
            return text
        try:
            return self.form(json.loads(text), stack)
        except (ValueError, RecursionError):
            return text

    def _text(self, value: Any, stack: str) -> str:  # noqa: PLR0911
        """A value as one string, with references as in Fn::Sub."""
        match value:
            case str():
                return value
            case {"Ref": str(name)}:
                return f"${{{self._shown(stack, name)}}}"
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return f"${{{self._shown(stack, name)}.{attribute}}}"
            case {"Fn::Sub": str(text)}:
                return text
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self._text(part, stack) for part in parts)
            case {"Fn::ImportValue": str(export)}:
                exported = self._exported(export)
                return self._text(*exported) if exported else f"${{{export}}}"
        # Escaped, because the text around it is JSON
        return f"${{{sorted_json(value)}}}".replace('"', "'")

    def _exported(self, export: str) -> tuple[Any, str] | None:
        """The value that another stack exports under this name, in CDK's naming scheme, and that stack."""
        stack_name, _, output = export.partition(":")
        for stack, name in self.assembly.stack_names.items():
            outputs = self.assembly.templates.get(stack, {}).get("Outputs", {})
            if name == stack_name and output in outputs:
                return outputs[output]["Value"], stack
        return None

    def _shown(self, stack: str, logical_id: str) -> str:
        if logical_id not in self.assembly.templates[stack].get("Resources", {}):
            return logical_id  # a parameter or a pseudo parameter
        return self.name(stack, logical_id)
