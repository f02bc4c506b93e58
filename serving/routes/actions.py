"""The kill switch of an action.

Belongs here: bodies and statuses. Does not belong here: the way of a switch through log and State
(`nextbest.switches`).
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPMethod, HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nextbest.log import EventLog
from nextbest.state import State
from nextbest.switches import Switch, switched, use
from nextbest.wire import SwitchRequest, SwitchResponse
from serving import bodies, problems, responses
from serving.decider import Decider
from serving.operations import Link, Operation, Parameter

_request = msgspec.json.Decoder(SwitchRequest)
_SWITCHES: dict[Switch, str] = {
    "pause": "Stop an action: no decision proposes it any more, on any replica",
    "resume": "Let decisions propose an action again",
}
_BACK: dict[Switch, Link] = {
    switch: Link(
        name="back",
        to=f"{other}Action",
        description="Take it back.",
        parameters={"action": "$request.path.action"},
        body={"reason": "taken back"},
    )
    for switch, other in zip(_SWITCHES, reversed(_SWITCHES), strict=True)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """The operations about one action."""

    decider: Decider
    log: EventLog
    state: State
    clock: Callable[[], datetime]

    def operations(self) -> Iterator[Operation]:
        for switch, summary in _SWITCHES.items():
            yield Operation(
                method=HTTPMethod.POST,
                path=f"/v1/actions/{{action}}/{switch}",
                name=f"{switch}Action",
                summary=summary,
                handler=getattr(self, switch),
                scope="admin",
                body=SwitchRequest,
                is_body_required=False,
                answers={HTTPStatus.OK: SwitchResponse},
                links=(_BACK[switch],),
                problems=(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
                parameters=(Parameter(name="action", place="path", description="Its id in the policy."),),
            )

    async def pause(self, request: Request) -> Response:
        return await self._switch("pause", request)

    async def resume(self, request: Request) -> Response:
        return await self._switch("resume", request)

    async def _switch(self, switch: Switch, request: Request) -> Response:
        body = await bodies.read(request, _request, bodies.SMALL_BYTES, nothing=b"{}")
        action = request.path_params["action"]
        actions = self.decider.in_force.policy.actions
        if action not in actions:
            raise problems.missing("action", action, actions)
        entry = switched(switch, action, f"{switch}/{uuid.uuid4().hex}", self.clock(), reason=body.reason)
        was_paused = await use(self.log, self.state, entry)
        is_paused = switch == "pause"
        return responses.json(SwitchResponse(action=action, is_paused=is_paused, changed=is_paused != was_paused))
