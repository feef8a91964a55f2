"""A worker examined in one exchange: what it lacks before it can run VMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.devices.network.mesh import share
from vmops.core.devices.network.service import by_node
from vmops.core.facts import observed as facts
from vmops.core.facts.images import store
from vmops.core.facts.network.following import following
from vmops.core.facts.question import NO_PERL, Answers, Unanswered
from vmops.core.inventory.inventory import Inventory, Part
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import health
from vmops.core.plan.health import Check
from vmops.errors import FleetFailed, VmopsError, WorkFailed
from vmops.ops.act import ask, unreadable
from vmops.ops.network import mesh as by_mesh
from vmops.ops.route import Route


class Health(NamedTuple):
    """All checks of one worker. `unreachable` is why there are none; `folder` is the name of the
    one that it shares, and by what that is known again on another worker."""

    worker: str
    address: str
    checks: tuple[Check, ...] = ()
    unreachable: VmopsError | None = None
    folder: tuple[str, str] | None = None

    @property
    def errors(self) -> list[VmopsError]:
        """One error for each check that failed."""
        if self.unreachable is not None:
            return [self.unreachable]
        return [
            WorkFailed(f"{check.name}: {check.found}", worker=self.worker, cure=check.cure)
            for check in self.checks
            if not check.ok
        ]

    @property
    def error(self) -> VmopsError | None:
        """All of `errors` as one, None where nothing is lacking."""
        errors = self.errors
        return FleetFailed(errors) if len(errors) > 1 else next(iter(errors), None)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "worker": self.worker,
            "address": self.address,
            "ok": not self.errors,
            "error": str(self.unreachable) if self.unreachable else None,
            "checks": [
                {"name": c.name, "ok": c.ok, "found": c.found, "cure": c.cure if not c.ok else None}
                for c in self.checks
            ],
        }


def examine(
    route: Route,
    vms: Sequence[VM] = (),
    bases: Bases = NO_BASES,
    *,
    listed: Inventory | None = None,
) -> Health:
    """Check the worker, and that it has what these VMs need, `bases` being the images that their
    disks are made of; and what it needs for its part in the networks of the inventory that is
    `listed`. Never raises a VmopsError.
    """
    worker = route.worker
    serves = by_node(listed).get(worker.name, {}) if listed is not None else {}
    part = listed.part_of(worker) if listed is not None else None
    mesh = share(listed, worker.name) if listed is not None else None
    shares = worker.shared_images
    questions = health.questions(vms, bases, serves=bool(serves), shares=shares)
    try:
        of_ovn = () if part is None else (following(worker, part),)
        answers = ask(route, *questions, *of_ovn, *by_mesh.questions(mesh))
        if route.transcript is not None:
            return Health(worker.name, worker.address)
        seen = facts.read(route.worker, answers, questions)
    except Unanswered as error:
        return _without_facts(route, error)
    except VmopsError as error:
        return _without_root(worker, error)
    checks = (
        *_logged_in(route, f"{worker.address}, user {seen.host.user}"),
        *health.checks(worker, vms, seen, answers, serves=serves),
        *(() if part is None else _ovn(worker, part, answers)),
        *(() if mesh is None else by_mesh.examined(worker, mesh, answers, seen.switch)),
    )
    return Health(worker.name, worker.address, checks, folder=_folder(worker, answers))


def _folder(worker: Worker, answers: Answers) -> tuple[str, str] | None:
    if worker.shared_images is None:
        return None
    try:
        found = answers[store(worker.shared_images)]
    except Unanswered:
        return None
    return (worker.shared_images, found.identity) if found is not None else None


def compared(reports: Sequence[Health]) -> list[Health]:
    """The reports, with what is wrong between workers: folders of one name that are not one."""
    first: dict[str, Health] = {}
    found = []
    for report in reports:
        if report.folder is not None:
            name, identity = report.folder
            before = first.setdefault(name, report)
            if before.folder is not None and before.folder[1] != identity:
                what = f"it is another folder than that of {before.worker}, which has the same name"
                cure = "mount the same one on both at ~/vm_images; there: mount | grep vm_images"
                check = Check(f"shared folder {name}", False, what, cure)
                report = report._replace(checks=(*report.checks, check))
        found.append(report)
    return found


def _ovn(worker: Worker, part: Part, answers: Answers) -> list[Check]:
    from vmops.core.plan.network.following import checks

    try:
        found = answers[following(worker, part)]
    except Unanswered as reason:
        return [Check("OVN", False, str(reason), "try again")]
    return checks(worker, part, found)


def _logged_in(route: Route, where: str) -> tuple[Check, Check]:
    return Check("SSH", True, where), Check("sudo", True, _sudo(route))


def _without_facts(route: Route, error: Unanswered) -> Health:
    """What runs there cannot be asked: without perl that is a check like any other."""
    worker = route.worker
    if str(error) != NO_PERL:
        return Health(worker.name, worker.address, unreachable=unreadable(route, error))
    checks = (*_logged_in(route, worker.address), health.perl(is_there=False))
    return Health(worker.name, worker.address, checks)


def _without_root(worker: Worker, error: VmopsError) -> Health:
    """A plain WorkFailed comes after the login: no root shell has started."""
    if type(error) is not WorkFailed:
        return Health(worker.name, worker.address, unreachable=error)
    checks = (
        Check("SSH", True, worker.address),
        Check("sudo", False, error.what, error.cure),
    )
    return Health(worker.name, worker.address, checks)


def _sudo(route: Route) -> str:
    given = route.config is not None and route.config.sudo.password is not None
    return "root, with the password that was given" if given else "root without a question"
