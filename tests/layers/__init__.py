import pytest

pytest.register_assert_rewrite("tests.layers.helpers")  # its failures show their numbers, as those of tests do
