"""What the networks have in common: see mixins.py. Listing a class in facesym.models is what gets it tested."""

import pytest
from mixins import ModelTests

from facesym import models
from facesym.models.base import Model

NETWORKS = [name for name in models.__all__ if issubclass(getattr(models, name), Model)]


class TestModels(ModelTests):
    @pytest.fixture(scope="class", params=NETWORKS)
    @classmethod
    def name(cls, request):
        return request.param
