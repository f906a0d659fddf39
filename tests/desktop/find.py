#!/usr/bin/python3
"""find.py ROLE NAME: what is on the screen with that role and a name (or text) that contains NAME, a line of JSON each.

Roles are AT-SPI's words: "push button", "label", "password text", "check box" … An empty ROLE is any.
"""
import json
import sys

import pyatspi


def walk(accessible, depth=0):
    yield accessible
    if depth < 40:
        for child in accessible:
            if child is not None:
                yield from walk(child, depth + 1)


def text(accessible):
    try:
        return accessible.queryText().getText(0, -1)
    except NotImplementedError:
        return ""


def describe(application, accessible):
    try:
        box = accessible.queryComponent().getExtents(pyatspi.DESKTOP_COORDS)
    except NotImplementedError:  # it has no place on the screen
        return None
    return {
        "application": application.name, "role": accessible.getRoleName(), "name": accessible.name, "text": text(accessible),
        "x": box.x, "y": box.y, "width": box.width, "height": box.height,
        "states": [pyatspi.stateToString(state) for state in accessible.getState().getStates()],
    }


role, name = sys.argv[1:]
for application in pyatspi.Registry.getDesktop(0):
    if application is None:
        continue
    try:
        for accessible in walk(application):
            found = describe(application, accessible) if role in ("", accessible.getRoleName()) else None
            if found and "showing" in found["states"] and (name in found["name"] or name in found["text"]):
                print(json.dumps(found))
    except Exception as error:  # it may go away while it is looked at
        print(f"{application}: {error!r}", file=sys.stderr)
