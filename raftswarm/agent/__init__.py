"""Runs tasks: applies assignments, drives one task manager per task, reports what it observes."""

from raftswarm.agent.agent import Agent, Managers
from raftswarm.agent.published import PublishedPorts
from raftswarm.agent.record import TaskRecords
from raftswarm.agent.worker import Worker

__all__ = ["Agent", "Managers", "PublishedPorts", "TaskRecords", "Worker"]
