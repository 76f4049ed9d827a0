# SPDX-License-Identifier: Apache-2.0
"""One test a rule. A rule is a module with violations(), which yields a sentence for each place that breaks it."""
import pytest

from lint import config, fail_points, format, headers, layers, links, mutations, sizes, spdx, words


def nothing(rule):
    found = list(rule.violations())
    if found:
        pytest.fail("\n".join([rule.__doc__.strip(), *found]), pytrace=False)


def test_rooms_include_only_rooms_before_them():
    nothing(layers)


def test_files_functions_and_folders_stay_readable():
    nothing(sizes)


def test_no_banned_call_unfinished_mark_or_machine_path():
    nothing(words)


def test_c_is_formatted():
    nothing(format)


def test_every_source_names_its_licence():
    nothing(spdx)


def test_the_shipped_configuration_shows_every_setting():
    nothing(config)


def test_every_fail_point_is_passed_somewhere():
    nothing(fail_points)


def test_every_wrong_edit_can_still_be_made():
    nothing(mutations)


def test_links_lead_somewhere():
    nothing(links)


def test_a_transport_outside_finds_its_headers():
    nothing(headers)
