/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/validate.h"

#include <stdio.h>
#include <string.h>

#include "settings/function_fields.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int validate_name(const char *name, const char *field, struct err *err)
{
	size_t len = strlen(name);
	bool ok = len >= 1 && len < VPF_NAME_MAX && is_alnum(name[0]);

	/* It becomes a directory of the run directory: no '/', no leading dot. */
	for (const char *p = name; ok && *p; p++)
		ok = is_alnum(*p) || strchr("_.-", *p);
	if (!ok)
		return err_set(
			err, EINVAL, field,
			"must have 1 to %d letters, digits, '_', '.' or '-', and begin with a letter or digit",
			VPF_NAME_MAX - 1);
	return 0;
}

/* What the kernel takes as a netdev's name. */
static bool ifname_ok(const char *name)
{
	if (!*name || strlen(name) >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p == '/' || *p == ':' || *p == '%' || *p == 0x7f)
			return false;
	return true;
}

static int not_ifname(const char *field, struct err *err)
{
	return err_set(
		err, EINVAL, field,
		"must name a network interface: 1 to %d visible ASCII characters without '/', ':' and '%%'",
		IFNAMSIZ - 1);
}

static int validate_fabric_type(const struct fabric_settings *s, struct err *err)
{
	char names[128];

	if (!s->type)
		return err_set(err, EINVAL, "type", "must be %s",
			       type_names(fabric_types, "or", names, sizeof(names)));
	for (const struct param *p = s->type->base.params; p && p->name; p++) {
		if (p->form != PARAM_NETDEV || !param_given(&s->params, p))
			continue;
		if (!ifname_ok(param_text(&s->params, p)))
			return not_ifname(p->name, err);
		if (s->uplink != UPLINK_NONE && !strcmp(param_text(&s->params, p), s->uplink_name))
			return err_set(err, EINVAL, "uplink.name", "cannot be the %s itself", p->what);
	}
	return s->type->check ? s->type->check(s, err) : 0;
}

int validate_fabric(const struct fabric_settings *s, struct err *err)
{
	int r = validate_name(s->name, "name", err);

	if (r < 0)
		return r;
	if (s->uplink == UPLINK_NONE && s->uplink_name[0])
		return err_set(err, EINVAL, "uplink.name", "an uplink of type none has no name");
	if (s->uplink != UPLINK_NONE && !ifname_ok(s->uplink_name))
		return not_ifname("uplink.name", err);
	r = validate_fabric_type(s, err);
	if (r < 0)
		return r;
	if (s->ageing < 1 || s->ageing > 1000000)
		return err_set(err, EINVAL, "ageing", "must be 1 to 1000000 seconds");
	if (s->max_learned > 65536)
		return err_set(err, EINVAL, "max_learned", "must be 0 to 65536");
	return 0;
}

static int validate_pf_mac(const uint8_t mac[6], uint32_t vfs, struct err *err)
{
	if (mac_is_multicast(mac))
		return err_set(err, EINVAL, "mac",
			       "is a multicast address: the lowest bit of the first byte must be 0");
	if (mac_is_zero(mac))
		return err_set(err, EINVAL, "mac",
			       "must not be all zeros; leave it out to have one generated");
	if (!mac_has_room(mac, vfs))
		return err_set(
			err, EINVAL, "mac",
			"leaves no room for %u VFs, which get the MACs after it: the last three bytes would overflow",
			vfs);
	return 0;
}

int validate_pf(const struct pf_settings *s, const uint8_t *mac, struct err *err)
{
	int r = validate_name(s->name, "name", err);

	if (r < 0)
		return r;
	r = validate_name(s->fabric, "fabric", err);
	if (r < 0)
		return r;
	if (s->vfs > VPF_MAX_VFS)
		return err_set(err, EINVAL, "vfs", "must be 0 to %d", VPF_MAX_VFS);
	if (s->queue_pairs < 1 || s->queue_pairs > VPF_MAX_QUEUE_PAIRS)
		return err_set(err, EINVAL, "queue_pairs", "must be 1 to %d", VPF_MAX_QUEUE_PAIRS);
	if (s->qmp[0] && s->qmp[0] != '/')
		return err_set(err, EINVAL, "qmp", "must be the absolute path of a QMP socket");
	for (const char *p = s->qmp; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(err, EINVAL, "qmp", "must not contain control characters");
	r = validate_name(s->vm, "vm", err);
	if (r < 0)
		return r;
	r = fields_check(pf_fields, s, "", err);
	if (r < 0)
		return r;
	return mac ? validate_pf_mac(mac, s->vfs, err) : 0;
}

int validate_function(const struct function_settings *s, struct err *err)
{
	int r;

	/* All zeros is how the absence of an administrative MAC is spelled. */
	if (mac_is_multicast(s->admin_mac))
		return err_set(err, EINVAL, "mac",
			       "is a multicast address: the lowest bit of the first byte must be 0");
	r = fields_check(function_fields, s, "", err);
	if (r < 0)
		return r;
	if (s->max_rate && s->min_rate > s->max_rate)
		return err_set(err, EINVAL, "min_rate", "must not be above the maximum rate, %u Mb/s",
			       s->max_rate);
	return 0;
}
