/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl has an option for each setting that vpfd has. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/command.h"
#include "settings/function_fields.h"
#include "settings/pf_fields.h"

static const struct arg *args_of(const char *noun, const char *verb)
{
	return command_find(command_find(&command_root, noun), verb)->args;
}

static void check(const struct arg *args, const struct json_field *rows, const char *what)
{
	for (const struct json_field *row = rows; row->name; row++) {
		bool found = false;

		for (const struct arg *a = args; a->name; a++)
			found |= a->param && strcmp(a->param, row->name) == 0;
		if (!found)
			fail_msg("%s has no option for %s", what, row->name);
	}
}

static void options(void **state)
{
	(void)state;
	check(args_of("vf", "set"), function_fields, "vf set");
	check(args_of("pf", "set"), pf_fields, "pf set");
	check(args_of("pf", "add"), pf_fields, "pf add");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(options)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
