"""Runs the suites of launchers, strategies and error handlers on every one that is registered."""

import pytest

from blockyard import plugins
from blockyard.blocks import errors, launchers, scaling
from blockyard.blocks.errors import ErrorHandler
from blockyard.blocks.launchers import Launcher
from blockyard.blocks.scaling import Strategy
from blockyard.blocks.suites import ErrorHandlerSuite, LauncherSuite, StrategySuite


class TestEveryLauncher(LauncherSuite):
    @pytest.fixture(params=plugins.registered(plugins.LAUNCHERS))
    def launcher(self, request: pytest.FixtureRequest) -> Launcher:
        return launchers.find(request.param)


class TestEveryStrategy(StrategySuite):
    @pytest.fixture(params=plugins.registered(plugins.STRATEGIES))
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return scaling.find(request.param)


class TestEveryErrorHandler(ErrorHandlerSuite):
    @pytest.fixture(params=plugins.registered(plugins.ERROR_HANDLERS))
    def handler(self, request: pytest.FixtureRequest) -> ErrorHandler:
        return errors.find(request.param)
