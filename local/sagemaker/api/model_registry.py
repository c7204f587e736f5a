"""The model registry: groups, and packages with their approval."""

from collections.abc import Callable
from pathlib import Path

from local.sagemaker.api.resources import Record, Resources, now
from local.sagemaker.errors import ApiError, validation_error


class ModelRegistry(Resources):
    """CreateModelPackage and related operations."""

    def __init__(self, *, cache: Path, emit: Callable[[str, Record], None] = lambda *_: None) -> None:
        super().__init__(cache=cache, emit=emit)
        self._package_groups: dict[str, Record] = {}
        self._packages: dict[str, Record] = {}

    def create_model_package_group(self, request: Record) -> Record:
        name = request["ModelPackageGroupName"]
        return {"ModelPackageGroupArn": self._add(self._package_groups, "model-package-group", name, request)}

    def delete_model_package_group(self, request: Record) -> Record:
        name = request["ModelPackageGroupName"]
        self._find(self._package_groups, "model-package-group", name)
        if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
            raise ApiError("ConflictException", f"Model package group {name} still contains model packages.")
        del self._package_groups[name]
        return {}

    def create_model_package(self, request: Record) -> Record:
        group = request["ModelPackageGroupName"]
        self._find(self._package_groups, "model-package-group", group)
        token = request.get("ClientToken")
        for arn, package in self._packages.items():
            if token and package.get("ClientToken") == token:
                return {"ModelPackageArn": arn}
        version = 1 + sum(package["ModelPackageGroupName"] == group for package in self._packages.values())
        arn = self._arn("model-package", f"{group}/{version}")
        self._packages[arn] = {
            "ModelApprovalStatus": "PendingManualApproval",
            **request,
            "ModelPackageName": f"{group}/{version}",
            "ModelPackageVersion": version,
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreationTime": now(),
        }
        return {"ModelPackageArn": arn}

    def describe_model_package(self, request: Record) -> Record:
        return dict(self._package(request["ModelPackageName"]))

    def update_model_package(self, request: Record) -> Record:
        self._package(request["ModelPackageArn"]).update(request)
        return {"ModelPackageArn": request["ModelPackageArn"]}

    def delete_model_package(self, request: Record) -> Record:
        del self._packages[self._package(request["ModelPackageName"])["ModelPackageArn"]]
        return {}

    def list_model_packages(self, request: Record) -> Record:
        group = request.get("ModelPackageGroupName")
        if group is not None:
            self._find(self._package_groups, "model-package-group", group)
        fields = ("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime")
        found = [
            {key: package[key] for key in (*fields, "ModelPackageStatus", "ModelApprovalStatus")}
            for package in self._packages.values()
            if package["ModelPackageGroupName"] == group
            and package["ModelApprovalStatus"] == request.get("ModelApprovalStatus", package["ModelApprovalStatus"])
        ]  # oldest first
        if request.get("SortOrder") == "Descending":
            found.reverse()
        return {"ModelPackageSummaryList": found}

    def _package(self, arn: str) -> Record:
        if arn not in self._packages:
            raise validation_error(f"ModelPackage {arn} does not exist.")
        return self._packages[arn]
