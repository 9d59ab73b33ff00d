/* SPDX-License-Identifier: Apache-2.0 */

/* What a VM has of a virtual PF, and removing what none of its devices uses. */

#include <string.h>

#include "qemu/plug_priv.h"

int plug_list_devices(struct plug *p)
{
	if (p->index++ > 0)
		return STEP_DONE;
	return plug_send(p, "qom-list", json_pack("{s:s}", "path", "/machine/peripheral"));
}

int plug_devices_listed(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	const json_t *entry;
	size_t i;

	if (code < 0)
		return plug_refused(p, code, err, "list the VM's devices");
	if (!json_is_array(ret))
		return plug_garbled(p, "qom-list");
	memset(p->device, 0, sizeof(p->device));
	json_array_foreach (ret, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		int fn = name ? qemu_id_parse(name, QEMU_DEVICE, p->pf.name, p->functions) : -ENOENT;

		if (fn >= 0)
			p->device[fn] = true;
	}
	return 0;
}

int plug_list_chardevs(struct plug *p)
{
	if (p->index++ > 0)
		return STEP_DONE;
	return plug_query(p, "query-chardev");
}

/* Marks the chardevs that exist, and counts those of them that are not connected. */
int plug_read_chardevs(struct plug *p, int code, const json_t *ret, const struct err *err,
		       unsigned int *ret_away, unsigned int *ret_away_fn)
{
	const json_t *entry;
	unsigned int away = 0;
	size_t i;

	if (code < 0)
		return plug_refused(p, code, err, "list the VM's chardevs");
	if (!json_is_array(ret))
		return plug_garbled(p, "query-chardev");
	memset(p->chardev, 0, sizeof(p->chardev));
	json_array_foreach (ret, i, entry) {
		const char *label = json_string_value(json_object_get(entry, "label"));
		const char *name = json_string_value(json_object_get(entry, "filename"));
		int fn = label ? qemu_id_parse(label, QEMU_CHARDEV, p->pf.name, p->functions) : -ENOENT;

		if (fn < 0)
			continue;
		p->chardev[fn] = true;
		if (name && strncmp(name, "disconnected:", strlen("disconnected:")) == 0) {
			*ret_away_fn = (unsigned int)fn;
			away++;
		}
	}
	*ret_away = away;
	return 0;
}

int plug_chardevs_listed(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	unsigned int away, fn;

	return plug_read_chardevs(p, code, ret, err, &away, &fn);
}

/* --- dropping netdevs and chardevs that no device uses ------------------------------------------ */

static int drop(struct plug *p, const char *command, enum qemu_part part)
{
	for (; p->index < p->functions; p->index++) {
		if (p->chardev[p->index] && !p->device[p->index])
			return plug_send_id(p, command, part, p->index++);
	}
	return STEP_DONE;
}

int plug_drop_netdevs(struct plug *p)
{
	return drop(p, "netdev_del", QEMU_NETDEV);
}

int plug_drop_chardevs(struct plug *p)
{
	return drop(p, "chardev-remove", QEMU_CHARDEV);
}

/* There may be no netdev (a chardev alone), and a chardev goes with its netdev: what is still in the way
 * shows when its id is used again. */
int plug_dropped(struct plug *p, int code, const json_t *ret, const struct err *err)
{
	(void)p;
	(void)code;
	(void)ret;
	(void)err;
	return 0;
}
