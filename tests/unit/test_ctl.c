/* SPDX-License-Identifier: Apache-2.0 */

/* vpfctl without vpfd: from words to parameters, and from results to text. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/command.h"
#include "ctl/help.h"
#include "ctl/out.h"
#include "ctl/suggest.h"
#include "ctl/value.h"
#include "ctl/view.h"

/* Parses a line of words without quoting. */
static int parse(const char *line, struct invocation *inv, struct err *err)
{
	static char copy[1024];
	char *argv[64], *save = NULL;
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_in_range(argc, 0, ARRAY_SIZE(argv) - 1);
		argv[argc++] = w;
	}
	*err = (struct err){0};
	return command_parse(&command_root, argc, argv, inv, err);
}

static void check_params(const char *line, const char *expected)
{
	json_t *want = json_loads(expected, 0, NULL);
	struct invocation inv;
	struct err err;

	assert_non_null(want);
	if (parse(line, &inv, &err) < 0)
		fail_msg("'%s' is refused: %s", line, err.text);
	if (!json_equal(want, inv.params)) {
		char *got = json_dumps(inv.params, 0);

		fail_msg("'%s' gives %s instead of %s", line, got, expected);
	}
	json_decref(want);
	invocation_free(&inv);
}

static void check_refused(const char *line, const char *why)
{
	struct invocation inv;
	struct err err;

	if (parse(line, &inv, &err) != -EINVAL)
		fail_msg("'%s' is taken", line);
	if (!strstr(err.text, why))
		fail_msg("'%s' is refused with '%s', which does not say '%s'", line, err.text, why);
	invocation_free(&inv);
}

static void params_of_each_kind(void **state)
{
	(void)state;
	check_params("fabric add f0", "{\"name\": \"f0\"}");
	check_params("fabric add f0 --uplink none", "{\"name\": \"f0\", \"uplink\": {\"type\": \"none\"}}");
	check_params(
		"fabric set f0 --uplink=tap:a:b --learning on --ageing 60 --max-learned 0",
		"{\"name\": \"f0\", \"uplink\": {\"type\": \"tap\", \"name\": \"a:b\"}, \"learning\": true,"
		" \"ageing\": 60, \"max_learned\": 0}");
	check_params(
		"pf add p --fabric f --vfs 8 --queue-pairs 4 --mac 02:00:00:00:00:01 --mtu 9000 --qmp /q",
		"{\"name\": \"p\", \"fabric\": \"f\", \"vfs\": 8, \"queue_pairs\": 4,"
		" \"mac\": \"02:00:00:00:00:01\", \"mtu\": 9000, \"qmp\": \"/q\"}");
	check_params("pf set p --qmp none --policy driver_mac=off,max_driver_macs=3,promisc=on,other=x",
		     "{\"name\": \"p\", \"qmp\": null, \"policy\": {\"driver_mac\": false,"
		     " \"max_driver_macs\": 3, \"promisc\": true, \"other\": \"x\"}}");
	check_params("pf set p --policy vlans=10-20,30,4094,macs=list,mac_list=02:00:00:00:00:01,"
		     "02:00:00:00:01:00-02:00:00:00:01:ff,trust=on,max_rate=1000",
		     "{\"name\": \"p\", \"policy\": {\"vlans\": \"10-20,30,4094\", \"macs\": \"list\","
		     " \"mac_list\": [\"02:00:00:00:00:01\", \"02:00:00:00:01:00-02:00:00:00:01:ff\"],"
		     " \"trust\": true, \"max_rate\": 1000}}");
	check_params("pf set p --policy vlans=7", "{\"name\": \"p\", \"policy\": {\"vlans\": \"7\"}}");
	check_params("pf set p --policy vlans=all,max_vfs=3,guest_control=off",
		     "{\"name\": \"p\", \"policy\": {\"vlans\": \"1-4094\", \"max_vfs\": 3,"
		     " \"guest_control\": false}}");
	check_params("pf set p --policy vlans=none,mac_list=none,max_rate=none,max_rate_total=none,macs=own",
		     "{\"name\": \"p\", \"policy\": {\"vlans\": \"\", \"mac_list\": [], \"max_rate\": 0,"
		     " \"max_rate_total\": 0, \"macs\": \"own\"}}");
	check_params("pf add p --fabric f --vfs 1 --vm node7",
		     "{\"name\": \"p\", \"fabric\": \"f\", \"vfs\": 1, \"vm\": \"node7\"}");
	check_params("pf set p --vm default", "{\"name\": \"p\", \"vm\": null}");
	check_params("vf set p 0 --min-rate 10 --max-rate 100 --pinned mac,vlan",
		     "{\"pf\": \"p\", \"vf\": 0, \"min_rate\": 10, \"max_rate\": 100,"
		     " \"pinned\": [\"mac\", \"vlan\"]}");
	check_params("vf set p 0 --min-rate none --max-rate none --pinned none",
		     "{\"pf\": \"p\", \"vf\": 0, \"min_rate\": 0, \"max_rate\": 0, \"pinned\": []}");
	check_params("vf set p 0 --pinned all",
		     "{\"pf\": \"p\", \"vf\": 0, \"pinned\": [\"mac\", \"vlan\", \"rate\","
		     " \"spoofchk\", \"trust\", \"link\"]}");
	check_params("qemu-args p --without-pf", "{\"name\": \"p\", \"without_pf\": true}");
	check_params("monitor control", "{\"topics\": [\"control\"]}");
	check_params("vf set p 3 --vlan 100", "{\"pf\": \"p\", \"vf\": 3, \"vlan\": {\"mode\": \"access\","
					      " \"vid\": 100}}");
	check_params(
		"vf set p pf --vlan 100:5:802.1ad",
		"{\"pf\": \"p\", \"vf\": null, \"vlan\": {\"mode\": \"access\", \"vid\": 100, \"pcp\": 5,"
		" \"proto\": \"802.1ad\"}}");
	check_params(
		"vf set p 0 --vlan none --mac none --spoofchk off --trust on --link auto --mtu 68",
		"{\"pf\": \"p\", \"vf\": 0, \"vlan\": {\"mode\": \"none\"}, \"mac\": \"00:00:00:00:00:00\","
		" \"spoofchk\": false, \"trust\": true, \"link\": \"auto\", \"mtu\": 68}");
	check_params("vf set p 0 --mtu default", "{\"pf\": \"p\", \"vf\": 0, \"mtu\": null}");
	check_params("vf set p 1 --trunk 0,10-20",
		     "{\"pf\": \"p\", \"vf\": 1, \"vlan\": {\"mode\": \"trunk\", \"vids\": \"0,10-20\"}}");
	check_params("vf set p 1 --datapath default", "{\"pf\": \"p\", \"vf\": 1, \"datapaths\": null}");
	check_params(
		"vf set p 1 --datapath vhost-user:path=/b/{vf}:server=on,vdpa:mgmtdev=pci/0:3b:0.2,builtin",
		"{\"pf\": \"p\", \"vf\": 1, \"datapaths\": [{\"type\": \"vhost-user\", \"path\": \"/b/{vf}\","
		" \"server\": true}, {\"type\": \"vdpa\", \"mgmtdev\": \"pci/0:3b:0.2\"},"
		" {\"type\": \"builtin\"}]}");
	check_params(
		"pf add p --fabric f --vfs 1 --datapath vhost-net --failback on --spoofchk off",
		"{\"name\": \"p\", \"fabric\": \"f\", \"vfs\": 1, \"datapaths\": [{\"type\": \"vhost-net\"}],"
		" \"failback\": true, \"spoofchk\": false}");
	check_params("fabric add f --type bridge --bridge br0",
		     "{\"name\": \"f\", \"type\": \"bridge\", \"bridge\": \"br0\"}");
	check_params("vf list", "{}");
	check_params("vf list p", "{\"pf\": \"p\"}");
	check_params("stats", "{}");
	check_params("stats p 2 --watch --interval 0.5 --count 3", "{\"pf\": \"p\", \"vf\": 2}");
	check_params("monitor link pf --count 1", "{\"topics\": [\"link\", \"pf\"]}");
	check_params("qemu-args p --packed --list --memory 2G --hotplug-ports 2",
		     "{\"name\": \"p\", \"packed\": true, \"memory\": \"2G\", \"hotplug_ports\": 2}");
}

/* Ranges, and what goes together, are vpfd's: what is well formed reaches it. */
static void ranges_are_not_judged(void **state)
{
	(void)state;
	check_params("pf add p --fabric f --vfs -1 --mtu 999999",
		     "{\"name\": \"p\", \"fabric\": \"f\", \"vfs\": -1, \"mtu\": 999999}");
	check_params(
		"vf set p 100000 --vlan 0:9:x",
		"{\"pf\": \"p\", \"vf\": 100000, \"vlan\": {\"mode\": \"access\", \"vid\": 0, \"pcp\": 9,"
		" \"proto\": \"x\"}}");
	check_params("vf set p 1 --mac nonsense --link sideways",
		     "{\"pf\": \"p\", \"vf\": 1, \"mac\": \"nonsense\", \"link\": \"sideways\"}");
	check_params("pf set p --policy vlans=none,5,macs=5,max_rate=fast,trust=maybe",
		     "{\"name\": \"p\", \"policy\": {\"vlans\": \",5\", \"macs\": 5, \"max_rate\": \"fast\","
		     " \"trust\": \"maybe\"}}");
	check_params("vf set p 1 --pinned mac,,mtu --max-rate -5",
		     "{\"pf\": \"p\", \"vf\": 1, \"pinned\": [\"mac\", \"\", \"mtu\"], \"max_rate\": -5}");
	check_params("fabric add f --uplink wire:x",
		     "{\"name\": \"f\", \"uplink\": {\"type\": \"wire\", \"name\": \"x\"}}");
}

static void syntax_errors(void **state)
{
	(void)state;
	check_refused("", "a command is missing");
	check_refused("vf set p 1 --datapath hardware", "--datapath: there is no datapath hardware");
	check_refused("vf set p 1 --datapath vhost-user", "--datapath: vhost-user needs path=");
	check_refused("vf set p 1 --datapath=", "--datapath: '' is no list of datapaths");
	check_refused("vf set p 1 --datapath default,builtin", "there is no datapath default");
	check_refused("pf", "a command is missing: one of add, set, del, list, show, attach, detach");
	check_refused("fdb", "a command is missing: show");
	check_refused("vf set p 1", "nothing to set");
	check_refused("vf set p 1 --json", "nothing to set");
	check_refused("vf set p", "VF|pf is missing");
	check_refused("pf set p", "nothing to set");
	check_refused("fabric set f", "nothing to set");
	check_refused("fabirc list", "did you mean 'fabric'");
	check_refused("pf lst", "did you mean 'list'");
	check_refused("pf xyzzy", "no command 'xyzzy'");
	check_refused("vf set p 1 --vlna 3", "did you mean --vlan");
	check_refused("--vfs 3 pf add", "no option --vfs here");
	check_refused("pf add", "NAME is missing");
	check_refused("pf add p --vfs 1", "--fabric FABRIC is missing");
	check_refused("pf add p --fabric f --vfs", "--vfs needs a value");
	check_refused("pf add p q --fabric f --vfs 1", "'q' is one argument too many");
	check_refused("pf add p --fabric f --vfs 1 --vfs 2", "--vfs is given twice");
	check_refused("vf set p 1 --vlan 3 --trunk 4", "--vlan and --trunk are mutually exclusive");
	check_refused("vf show p x", "neither the number of a VF nor 'pf'");
	check_refused("vf set p 1 --trust maybe", "--trust: 'maybe' is not one of: on, off");
	check_refused("vf set p 1 --vlan 1x", "--vlan: '1x' is not a VLAN");
	check_refused("vf set p 1 --vlan 1:", "is not a VLAN");
	check_refused("vf set p 1 --vlan 1:2:", "is not a VLAN");
	check_refused("vf set p 1 --mtu 0x10", "not a whole number");
	check_refused("vf set p 1 --mtu 99999999999999999999", "not a whole number");
	check_refused("vf set p 1 --mtu +1", "not a whole number");
	check_refused("fabric add f --uplink tap", "not an uplink");
	check_refused("fabric add f --uplink :x", "not an uplink");
	check_refused("fabric add f --uplink tap:", "not an uplink");
	check_refused("pf set p --policy promisc", "not KEY=VALUE");
	check_refused("pf set p --policy promisc=on,", "not KEY=VALUE");
	check_refused("pf set p --policy a=1,a=2", "given twice");
	check_refused("pf set p --policy vlans=1,2,trust=on,vlans=3", "'vlans' is given twice");
	check_refused("pf set p --policy vlans=1,,trust=on", "not KEY=VALUE");
	check_refused("pf set p --policy vlans=1,", "not KEY=VALUE");
	check_refused("pf set p --policy vlans=", "not KEY=VALUE");
	check_refused("pf set p --policy trust=on,5", "'5' is not KEY=VALUE");
	check_refused("pf set p --policy 10,vlans=5", "'10' is not KEY=VALUE");
	check_refused("pf set p --policy mac_list=x,a\xff", "UTF-8");
	check_refused("vf set p 1 --pinned a\xff", "UTF-8");
	check_refused("vf set p 1 --max-rate 1G", "neither a number of Mb/s nor 'none'");
	check_refused("stats --interval 0", "not a time");
	check_refused("stats --interval nan", "not a time");
	check_refused("stats --count 0", "from 1 up");
	check_refused("status --color sometimes", "auto, always, never");
	check_refused("status --json=yes", "--json takes no value");
	check_refused("completion tcsh", "bash");
	check_refused("pf show a\xff", "UTF-8");
}

static void options_anywhere(void **state)
{
	struct invocation inv;
	struct err err;

	(void)state;
	assert_int_equal(parse("--json --socket /s pf list", &inv, &err), 0);
	assert_true(invocation_flag(&inv, "--json"));
	assert_string_equal(json_string_value(invocation_local(&inv, "--socket")), "/s");
	invocation_free(&inv);

	assert_int_equal(parse("pf list -j --socket=/s", &inv, &err), 0);
	assert_true(invocation_flag(&inv, "--json"));
	assert_string_equal(invocation_command(&inv)->name, "list");
	invocation_free(&inv);

	/* After "--", a dash is no option. */
	check_params("fabric show -- --json", "{\"name\": \"--json\"}");

	/* Help needs nothing else. */
	assert_int_equal(parse("pf add --help", &inv, &err), 0);
	invocation_free(&inv);
	assert_int_equal(parse("-h", &inv, &err), 0);
	invocation_free(&inv);
}

static void check_field(const char *line, const char *field, const char *expected)
{
	const struct arg *arg;
	struct invocation inv;
	struct err err;

	assert_int_equal(parse(line, &inv, &err), 0);
	arg = invocation_arg_for_field(&inv, field);
	if (expected) {
		assert_non_null(arg);
		assert_string_equal(arg->name, expected);
	} else {
		assert_null(arg);
	}
	invocation_free(&inv);
}

static void fields_to_options(void **state)
{
	(void)state;
	check_field("vf set p 1 --vlan 1", "vlan.vid", "--vlan");
	check_field("vf set p 1 --datapath builtin", "datapaths", "--datapath");
	check_field("pf add p --fabric f --vfs 1", "datapaths[0].type", "--datapath");
	check_field("fabric add f", "bridge", "--bridge");
	check_field("vf set p 1 --trunk 1", "vlan.vids", "--trunk");
	check_field("vf set p 1 --trunk 1", "pf", "PF");
	check_field("vf set p 1 --trust on", "mtu", "--mtu");
	check_field("pf add p --fabric f --vfs 1", "queue_pairs", "--queue-pairs");
	check_field("pf add p --fabric f --vfs 1 --policy a=1", "policy.a", "--policy");
	check_field("pf set p --policy mac_list=1,2", "policy.mac_list[1]", "--policy");
	check_field("vf set p 1 --pinned x", "pinned[0]", "--pinned");
	check_field("vf set p 1 --max-rate 1", "max_rate", "--max-rate");
	check_field("monitor a b", "topics[1]", "TOPIC");
	check_field("status", "", NULL);
	check_field("vf set p 1 --trust on", "vla", NULL);
	check_field("vf set p 1 --trust on", "vlans.x", NULL);
}

static const char *near_word(const char *typed)
{
	struct suggestion s = {0};

	suggest_consider(&s, typed, "monitor");
	suggest_consider(&s, typed, "stats");
	suggest_consider(&s, typed, "status");
	suggest_consider(&s, typed, "pf");
	suggest_consider(&s, typed, "vf");
	return s.word;
}

static void suggestions(void **state)
{
	(void)state;
	assert_string_equal(near_word("mointor"), "monitor");
	assert_string_equal(near_word("statu"), "status");
	assert_string_equal(near_word("sats"), "stats");
	assert_string_equal(near_word("mon"), "monitor");
	assert_string_equal(near_word("pd"), "pf");
	assert_string_equal(near_word("fp"), "pf");
	assert_null(near_word("xy"));
	assert_null(near_word("fabric"));
	assert_null(near_word(""));
	assert_null(near_word("monitormonitormonitormonitormonitormonitor"));
}

/* Help's examples are commands that exist, and each command has help. */
static void check_command(const struct command *cmd)
{
	assert_non_null(cmd->summary);
	for (const struct example *e = cmd->examples; e && e->command; e++) {
		char line[512], *tail;
		struct invocation inv;
		struct err err;

		assert_non_null(e->what);
		snprintf(line, sizeof(line), "%s", e->command);
		tail = strpbrk(line, "|>");
		if (tail)
			*tail = '\0';
		if (parse(line, &inv, &err) < 0)
			fail_msg("the example 'vpfctl %s' is refused: %s", e->command, err.text);
		invocation_free(&inv);
	}
	if (!cmd->sub) {
		assert_non_null(cmd->run);
		if (!cmd->examples)
			fail_msg("'%s' has no examples", cmd->name);
	}
	for (const struct arg *a = command_args(cmd); a && a->name; a++)
		assert_true(a->help || a->make_help);
	for (const struct command *c = cmd->sub; c && c->name; c++)
		check_command(c);
}

static void tree_is_sound(void **state)
{
	(void)state;
	check_command(&command_root);
}

struct text {
	struct out out;
	char *text;
	size_t size;
};

static struct text text_new(bool color)
{
	struct text t = {.out = {.color = color}};

	return t;
}

static void text_open(struct text *t)
{
	t->out.file = open_memstream(&t->text, &t->size);
	assert_non_null(t->out.file);
}

static void text_check(struct text *t, const char *expected)
{
	assert_int_equal(fclose(t->out.file), 0);
	assert_string_equal(t->text, expected);
	free(t->text);
}

static void tables_align(void **state)
{
	static const struct column columns[] = {
		{"NAME", ALIGN_LEFT}, {"N", ALIGN_RIGHT}, {"LAST", ALIGN_LEFT}};
	struct text t = text_new(false);
	struct table *table = table_new(columns, 3);

	(void)state;
	table_cell(table, STYLE_PLAIN, "a");
	table_cell(table, STYLE_GOOD, "%d", 1000);
	table_cell(table, STYLE_PLAIN, "x");
	table_cell(table, STYLE_PLAIN, "ü-long");
	table_cell(table, STYLE_PLAIN, "7");
	table_cell(table, STYLE_PLAIN, "yy");
	text_open(&t);
	table_print(&t.out, table);
	text_check(&t, "NAME       N  LAST\n"
		       "a       1000  x\n"
		       "ü-long     7  yy\n");

	t = text_new(true);
	text_open(&t);
	table_print(&t.out, table);
	assert_int_equal(fflush(t.out.file), 0);
	assert_non_null(strstr(t.text, "\033[32m1000\033[0m  x\n"));
	fclose(t.out.file);
	free(t.text);
	table_free(table);
}

/* A guest chooses some of the text that is printed: it must not reach the terminal as control. */
static void control_characters_are_defused(void **state)
{
	struct text t = text_new(false);

	(void)state;
	text_open(&t);
	out_text(&t.out, STYLE_PLAIN, "%s",
		 "a\033[2Jb\rc\x7f\xc2\x9b"
		 "d\n");
	text_check(&t, "a?[2Jb?c???d\n");
}

static void shell_words(void **state)
{
	static const struct {
		const char *word, *quoted;
	} cases[] = {
		{"-device", "-device"},
		{"virtio-net-pci,id=a,addr=0x0.0x1,mac=02:00:00:00:00:01", NULL},
		{"", "''"},
		{"/run/my vm/q", "'/run/my vm/q'"},
		{"it's", "'it'\\''s'"},
		{"$HOME;`ls`\\", "'$HOME;`ls`\\'"},
		{"~root", "'~root'"},
		{"{\"a\":1}", "'{\"a\":1}'"},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct text t = text_new(false);

		text_open(&t);
		out_shell_word(&t.out, cases[i].word);
		text_check(&t, cases[i].quoted ? cases[i].quoted : cases[i].word);
	}
}

static void help_fits_80_columns(const struct command *const path[], unsigned int depth)
{
	const struct command *next[COMMAND_DEPTH];
	struct text t = text_new(false);
	char *save = NULL;

	text_open(&t);
	help_print(&t.out, path, depth);
	assert_int_equal(fclose(t.out.file), 0);
	for (char *line = strtok_r(t.text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t width = 0;

		for (const char *p = line; *p; p++)
			width += (*p & 0xc0) != 0x80;
		/* What a person types is never broken. */
		if (width > 80 && strncmp(line, "  vpfctl", 8) != 0 && strncmp(line, "Usage", 5) != 0)
			fail_msg("help has a line of %zu columns: %s", width, line);
	}
	free(t.text);

	if (depth == COMMAND_DEPTH) {
		assert_null(path[depth - 1]->sub);
		return;
	}
	memcpy(next, path, depth * sizeof(*path));
	for (const struct command *c = path[depth - 1]->sub; c && c->name; c++) {
		next[depth] = c;
		help_fits_80_columns(next, depth + 1);
	}
}

static void help_is_readable(void **state)
{
	const struct command *path[] = {&command_root};

	(void)state;
	help_fits_80_columns(path, 1);
}

static void check_vlan(const char *json, const char *expected)
{
	json_t *vlan = json_loads(json, 0, NULL);
	char text[VIEW_TEXT_MAX];

	assert_string_equal(view_vlan(vlan, text), expected);
	json_decref(vlan);
}

static void values_for_people(void **state)
{
	json_t *drops = json_pack("{sisisi}", "spoof_mac", 10, "mtu", 0, "vlan", 2);
	json_t *big = json_pack("{sI}", "n", (json_int_t)9007199254740993);
	char text[VIEW_TEXT_MAX], *s;

	(void)state;
	check_vlan("{\"mode\": \"none\"}", "-");
	check_vlan("{\"mode\": \"access\", \"vid\": 5, \"pcp\": 0, \"proto\": \"802.1q\"}", "5");
	check_vlan("{\"mode\": \"access\", \"vid\": 5, \"pcp\": 3, \"proto\": \"802.1ad\"}",
		   "5 pcp 3 802.1ad");
	check_vlan("{\"mode\": \"trunk\", \"vids\": \"0,5-7\"}", "trunk 0,5-7");
	check_vlan("[]", "-");

	assert_string_equal(view_duration(59, text), "59 s");
	assert_string_equal(view_duration(60, text), "1 min 0 s");
	assert_string_equal(view_duration(3600 * 3 + 60 * 12, text), "3 h 12 min");
	assert_string_equal(view_duration(86400 * 2 + 3600, text), "2 d 1 h");

	assert_string_equal(view_rate(0, text), "0");
	assert_string_equal(view_rate(999.4, text), "999");
	assert_string_equal(view_rate(999.6, text), "1.00 k");
	assert_string_equal(view_rate(12345, text), "12.3 k");
	assert_string_equal(view_rate(99960, text), "100 k");
	assert_string_equal(view_rate(13.7e6, text), "13.7 M");

	s = view_drops(drops);
	assert_string_equal(s, "spoof_mac 10, vlan 2");
	free(s);
	s = view_drops(NULL);
	assert_string_equal(s, "");
	free(s);
	assert_int_equal(view_number(big, "n"), 9007199254740993);
	assert_int_equal(view_number(big, "none"), 0);
	json_decref(drops);
	json_decref(big);
}

static void check_policy_view(const char *key, const char *json, const char *expected)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
	char *text = view_policy(key, value);

	assert_string_equal(text, expected);
	free(text);
	json_decref(value);
}

static void check_limits(json_int_t min, json_int_t max, const char *expected)
{
	json_t *f = json_pack("{sIsI}", "min_rate", min, "max_rate", max);
	char text[VIEW_TEXT_MAX];

	assert_string_equal(view_limits(f, text), expected);
	json_decref(f);
}

static void policies_for_people(void **state)
{
	(void)state;
	check_policy_view("vlans", "\"\"", "none");
	check_policy_view("vlans", "\"5-7\"", "5-7");
	check_policy_view("trust", "false", "off");
	check_policy_view("macs", "\"own\"", "own");
	check_policy_view("mac_list", "[]", "none");
	check_policy_view("mac_list", "[\"a\", \"b-c\"]", "a,b-c");
	check_policy_view("max_rate", "0", "none");
	check_policy_view("max_rate_total", "10", "10 Mb/s");
	check_policy_view("max_vfs", "0", "0");
	check_policy_view("of_tomorrow", "[1]", "?");
	check_limits(0, 0, "-");
	check_limits(0, 9, "max 9 Mb/s");
	check_limits(5, 0, "min 5 Mb/s");
	check_limits(5, 9, "5 to 9 Mb/s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(params_of_each_kind),
		cmocka_unit_test(ranges_are_not_judged),
		cmocka_unit_test(syntax_errors),
		cmocka_unit_test(options_anywhere),
		cmocka_unit_test(fields_to_options),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(tree_is_sound),
		cmocka_unit_test(tables_align),
		cmocka_unit_test(control_characters_are_defused),
		cmocka_unit_test(shell_words),
		cmocka_unit_test(help_is_readable),
		cmocka_unit_test(values_for_people),
		cmocka_unit_test(policies_for_people),
	};

	return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
