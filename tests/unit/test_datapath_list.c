/* SPDX-License-Identifier: Apache-2.0 */

/* Lists of datapaths: their text and their JSON, each the other's inverse, and what neither takes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/vdpa/params.h"
#include "datapath/vhost_user/params.h"
#include "settings/datapath_list.h"
#include "settings/settings.h"

#define LONG_95                                                                                              \
	"/23456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/12345"

static void text_and_back(void **state)
{
	static const char *const texts[] = {
		"",
		"builtin",
		"vhost-net,builtin",
		"vdpa:device=vdpa*",
		"vdpa:mgmtdev=pci/0000:3b:00.2",
		"vdpa:device=vdpa?:mgmtdev=pci/0000:3b:00.*,builtin",
		"vhost-user:path=/run/ovs/"
		"{pf}-{vf}.sock:server=on:offload=on,vdpa:mgmtdev=vduse,vhost-net,builtin",
		"vhost-user:path=/a,vhost-user:path=/b",
		"vhost-user:path=/a:b:C=D=E",
		"vhost-user:path=" LONG_95 "6789",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct datapath_list list, again;
		struct err err = {0};
		json_t *json;
		char *text;

		assert_int_equal(datapath_list_parse(texts[i], &list, &err), 0);
		text = datapath_list_text(&list);
		assert_string_equal(text, texts[i]);
		free(text);
		json = datapath_list_to_json(&list);
		assert_int_equal(json_array_size(json), list.n);
		assert_int_equal(datapath_list_from_json(json, &again, &err), 0);
		json_decref(json);
		assert_true(datapath_list_equal(&list, &again));
	}
}

static void what_it_says(void **state)
{
	struct datapath_list list;
	struct datapath_pref *p = list.pref;

	(void)state;
	assert_int_equal(datapath_list_parse("vdpa:mgmtdev=pci/0000:3b:00.2:device=v*,"
					     "vhost-user:offload=off:server=on:path=/x/{vf},builtin",
					     &list, NULL),
			 0);
	assert_int_equal(list.n, 3);
	assert_ptr_equal(p[0].type, &datapath_type_vdpa);
	assert_string_equal(vdpa_params_of(&p[0].params)->mgmtdev, "pci/0000:3b:00.2");
	assert_string_equal(vdpa_params_of(&p[0].params)->device, "v*");
	assert_ptr_equal(p[1].type, &datapath_type_vhost_user);
	assert_string_equal(vhost_user_params_of(&p[1].params)->path, "/x/{vf}");
	assert_true(vhost_user_params_of(&p[1].params)->server);
	assert_false(vhost_user_params_of(&p[1].params)->offload);
	assert_ptr_equal(p[2].type, &datapath_type_builtin);
}

/* Each with a piece of the sentence that it gets. */
static void bad_texts(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"hardware", "there is no datapath hardware"},
		{"Builtin", "there is no datapath Builtin"},
		{"builtin ", "there is no datapath"},
		{",builtin", "empty preference"},
		{"builtin,", "empty preference"},
		{"builtin,,vhost-net", "empty preference"},
		{":path=/x", "empty preference"},
		{"builtin:path=/x", "builtin has no parameter path: it takes none"},
		{"vhost-user:mgmtdev=x", "those it has are path, server, offload"},
		{"vhost-user:path=/x:pth=/y", "vhost-user has no parameter pth"},
		{"vhost-user", "needs path="},
		{"vhost-user:path=run/x",
		 "path of vhost-user must be absolute, such as /run/x.sock, not run/x"},
		{"vhost-user:path=", "is empty"},
		{"vhost-user:path", "KEY=VALUE"},
		{"vhost-user:", "a colon after vhost-user must be followed by KEY=VALUE"},
		{"vhost-user:/run/x", "KEY=VALUE, not /run/x"},
		{"vhost-user:path=/x:server=yes", "server of vhost-user must be on or off, not yes"},
		{"vhost-user:path=/x:server=", "server of vhost-user is empty"},
		{"vhost-user:path=/x:path=/y", "given twice"},
		{"vhost-user:path=/{vm}", "no braces"},
		{"vhost-user:path=/{vf", "no braces"},
		{"vhost-user:path=/}", "no braces"},
		{"vhost-user:path=/x\n", "control character"},
		{"vhost-user:path=" LONG_95 "67890", "at most 99 fit"},
		{"vdpa", "vdpa needs device="},
		{"vdpa:mgmtdev=0123456789012345678901234567890123456789012345678901234567890123",
		 "at most 63"},
		{"builtin,vhost-net,builtin", "has builtin twice"},
		{"vhost-user:path=/x,vhost-user:path=/x:server=on", "twice"},
		{"builtin,vhost-net,vhost-user:path=/1,vhost-user:path=/2,vhost-user:path=/3",
		 "more than 4 preferences"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct datapath_list list = {.n = 77};
		struct err err = {0};

		if (datapath_list_parse(bad[i].text, &list, &err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i].text);
		assert_int_equal(list.n, 77);
		assert_string_equal(err.field, "datapaths");
		if (!strstr(err.text, bad[i].why))
			fail_msg("'%s': %s", bad[i].text, err.text);
	}
}

static void bad_json(void **state)
{
	static const struct {
		const char *json, *why;
	} bad[] = {
		{"{}", "must be an array"},
		{"\"builtin\"", "must be an array"},
		{"[\"builtin\"]", "must have objects"},
		{"[{}]", "must have objects"},
		{"[{\"type\": 3}]", "must have objects"},
		{"[{\"type\": \"\"}]", "empty preference"},
		{"[{\"type\": \"x\"}]", "there is no datapath x"},
		{"[{\"type\": \"builtin\\u0000\"}]", "there is no datapath"},
		{"[{\"type\": \"builtin\", \"server\": true}]", "no parameter server"},
		{"[{\"type\": \"vhost-user\"}]", "needs path="},
		{"[{\"type\": \"vhost-user\", \"path\": 7}]", "path of vhost-user must be a string"},
		{"[{\"type\": \"vhost-user\", \"path\": \"/x\", \"server\": \"on\"}]",
		 "server of vhost-user must be true or false"},
		{"[{\"type\": \"vhost-user\", \"path\": \"/x,y\"}]", "comma"},
		{"[{\"type\": \"vhost-user\", \"path\": \"/x\\u0000y\"}]", "control character"},
		{"[{\"type\": \"vhost-user\", \"path\": \"/x:server=on\"}]", ":KEY="},
		{"[{\"type\": \"vdpa\", \"device\": \"\"}]", "is empty"},
		{"[{\"type\": \"builtin\"}, {\"type\": \"builtin\"}]", "twice"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct datapath_list list = {.n = 77};
		json_t *json = json_loads(bad[i].json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		struct err err = {0};

		assert_non_null(json);
		assert_int_equal(datapath_list_from_json(json, &list, &err), -EINVAL);
		assert_int_equal(list.n, 77);
		assert_string_equal(err.field, "datapaths");
		if (!strstr(err.text, bad[i].why))
			fail_msg("'%s': %s", bad[i].json, err.text);
		json_decref(json);
	}
}

static void equality(void **state)
{
	static const char *const different[] = {
		"builtin",
		"vhost-net",
		"vhost-user:path=/x",
		"vhost-user:path=/y",
		"vhost-user:path=/x:server=on",
		"vhost-user:path=/x:offload=on",
		"vdpa:device=a",
		"vdpa:mgmtdev=a",
		"builtin,vhost-net",
		"vhost-net,builtin",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(different); i++)
		for (size_t k = 0; k < ARRAY_SIZE(different); k++) {
			struct datapath_list a, b;

			assert_int_equal(datapath_list_parse(different[i], &a, NULL), 0);
			assert_int_equal(datapath_list_parse(different[k], &b, NULL), 0);
			assert_int_equal(datapath_list_equal(&a, &b), i == k);
		}
}

static void paths(void **state)
{
	char template[100] = "/run/{pf}/x-{vf}-{pf}.sock";
	struct err err = {0};
	char path[108];

	(void)state;
	assert_int_equal(datapath_expand(template, "pf0", VPF_FUNCTION_VF(254), path, &err), 0);
	assert_string_equal(path, "/run/pf0/x-254-pf0.sock");
	assert_int_equal(datapath_expand(template, "a", VPF_FUNCTION_PF, path, &err), 0);
	assert_string_equal(path, "/run/a/x-pf-a.sock");

	/* 107 bytes fit a socket's address, and not one more. */
	strcpy(template, LONG_95 "{pf}");
	template[strlen(LONG_95)] = '\0';
	memmove(template + strlen(LONG_95) - 1, "{pf}", 5);
	assert_int_equal(datapath_expand(template, "0123456789abc", 1, path, &err), 0);
	assert_int_equal(strlen(path), 107);
	strcpy(path, "untouched");
	assert_int_equal(datapath_expand(template, "0123456789abcd", 1, path, &err), -EINVAL);
	assert_string_equal(path, "untouched");
	assert_string_equal(err.field, "datapaths");

	/* As long as a template can make it. */
	strcpy(template,
	       "/{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}{pf}"
	       "{pf}{pf}");
	assert_int_equal(datapath_expand(template, "0123456789012345678901234567890", 1, path, &err),
			 -EINVAL);
}

static void defaults(void **state)
{
	struct function_settings fn;
	struct datapath_list list;
	struct pf_settings pf;

	(void)state;
	pf_settings_init(&pf, "a");
	assert_int_equal(pf.datapaths.n, 1);
	assert_ptr_equal(pf.datapaths.pref[0].type, &datapath_type_builtin);
	assert_false(pf.failback);
	function_settings_init(&fn);
	assert_int_equal(fn.datapaths.n, 0);
	datapath_list_init(&list, &fabric_type_bridge);
	assert_int_equal(list.n, 2);
	assert_ptr_equal(list.pref[0].type, &datapath_type_vhost_net);
	assert_ptr_equal(list.pref[1].type, &datapath_type_builtin);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_back), cmocka_unit_test(what_it_says), cmocka_unit_test(bad_texts),
		cmocka_unit_test(bad_json),      cmocka_unit_test(equality),     cmocka_unit_test(paths),
		cmocka_unit_test(defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
