"""Handlers of the daemon itself: what answers, its description, its facts and its end."""

from __future__ import annotations

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from banger import __version__
from banger.api import bodies, codec, openapi, requests, routes
from banger.daemon.endpoint import Endpoint, answer, read_body, read_query
from banger.daemon.ports import DriverFact
from banger.daemon.views import moment
from banger.model.lifecycle import VMState

_RUNNING = frozenset({VMState.RUNNING, VMState.PAUSED})


class About(Endpoint):
    """``/``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        return answer(
            bodies.About(
                name="banger",
                version=__version__,
                build=self.services.facts.build,
                api=list(routes.VERSIONS),
                extensions=list(routes.EXTENSIONS),
            )
        )


class Description(Endpoint):
    """``/openapi.json``"""

    #: The description is made when first asked for, since hardly anybody does.
    _encoded = b""

    async def get(self, request: Request) -> Response:
        read_query(request)
        if not Description._encoded:
            Description._encoded = codec.encode(openapi.describe())
        return Response(Description._encoded, media_type=routes.JSON)


class Daemon(Endpoint):
    """``/v1/daemon``"""

    async def get(self, request: Request) -> Response:
        read_query(request)
        facts = self.services.facts
        drivers = await self.services.drivers()
        vms = self.services.vms.list()
        return answer(
            bodies.Daemon(
                version=facts.version,
                build=facts.build,
                pid=facts.pid,
                uid=facts.uid,
                socket=facts.socket,
                database=facts.database,
                log=facts.log,
                started_at=moment(facts.started_at),
                boot_id=facts.boot_id,
                vms_total=len(vms),
                vms_running=sum(vm.state in _RUNNING for vm in vms),
                drivers=bodies.DriverFacts(
                    vmm=bodies.VMMFact(
                        name=drivers.vmm.name,
                        reason=drivers.vmm.reason,
                        accelerator=drivers.vmm.accelerator,
                        version=drivers.vmm.version,
                    ),
                    storage=_driver(drivers.storage),
                    network=_driver(drivers.network),
                ),
            )
        )


class Stop(Endpoint):
    """``/v1/daemon/stop``"""

    async def post(self, request: Request) -> Response:
        read_query(request)
        body = await read_body(request, requests.Nothing, required=False)
        # Only when the answer is out: the client must not see a cut connection.
        end = BackgroundTask(self._end)
        return Response(codec.encode(body), 202, media_type=routes.JSON, background=end)

    async def _end(self) -> None:
        self.services.stop()


def _driver(fact: DriverFact) -> bodies.DriverFact:
    return bodies.DriverFact(name=fact.name, reason=fact.reason)
