"""What a call of the API asks of whoever calls, as its function says it to FastAPI."""

from typing import Annotated

from fastapi import Depends

from towline.reconciler.server.callers import Needs, desk_of, desks_of
from towline.reconciler.server.desk import Desk, Desks
from towline.reconciler.store.people import Person, Role

AtDesks = Annotated[Desks, Depends(desks_of)]
AtDesk = Annotated[Desk, Depends(desk_of)]
Viewer = Annotated[Person, Depends(Needs(Role.VIEWER))]
Planner = Annotated[Person, Depends(Needs(Role.PLANNER))]
Operator = Annotated[Person, Depends(Needs(Role.OPERATOR))]
Administrator = Annotated[Person, Depends(Needs(Role.ADMIN))]
DeviceViewer = Annotated[Person, Depends(Needs(Role.VIEWER, keeps_to_devices=True))]
DeviceOperator = Annotated[Person, Depends(Needs(Role.OPERATOR, keeps_to_devices=True))]
