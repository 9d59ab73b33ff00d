/* SPDX-License-Identifier: Apache-2.0 */

/* Who owns which MAC. Within a fabric, the permanent MACs of all functions and the administrative ones are
 * all different, except that a function may have its permanent one as administrative one. The permanent MACs
 * of a virtual PF are a range, so that few comparisons settle them. */

#include <stdio.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "model/model_private.h"
#include "settings/mac.h"

#define GENERATE_ATTEMPTS 1000

static int taken(const char *pf, unsigned int fn, const char *how, const uint8_t mac[6], struct err *err)
{
	char text[MAC_TEXT_MAX], name[16];

	return err_set(err, EEXIST, "mac", "%s is already the %s MAC of %s %s on this fabric: choose another",
		       mac_format(mac, text), how, pf, model_function_name(fn, name));
}

/* Whether a PF's permanent MACs include `mac`, and whose it is. */
static bool owns_permanent(const struct model_pf *pf, const uint8_t mac[6], unsigned int *ret_fn)
{
	uint64_t n = mac_to_number(mac) - mac_to_number(pf->mac);

	if (n > pf->s.vfs)
		return false;
	*ret_fn = (unsigned int)n;
	return true;
}

/* The PF whose permanent MACs overlap the count + 1 from `mac` on. */
static const struct model_pf *find_overlap(const struct model *m, const struct model_fabric *fabric,
					   const uint8_t mac[6], uint32_t count, const struct model_pf *self)
{
	uint64_t first = mac_to_number(mac), last = first + count;

	for (unsigned int i = 0; i < m->pfs_n; i++) {
		const struct model_pf *other = m->pfs[i];
		uint64_t begin = mac_to_number(other->mac), end = begin + other->s.vfs;

		if (other != self && (!fabric || other->fabric == fabric) && first <= end && begin <= last)
			return other;
	}
	return NULL;
}

/* The function with an administrative MAC among the count + 1 from `mac` on. */
static const struct model_function *find_admin(const struct model *m, const struct model_fabric *fabric,
					       const uint8_t mac[6], uint32_t count,
					       const struct model_pf *skip_pf, unsigned int skip_fn,
					       const struct model_pf **ret_pf)
{
	uint64_t first = mac_to_number(mac);

	for (unsigned int i = 0; i < m->pfs_n; i++) {
		const struct model_pf *pf = m->pfs[i];

		if (fabric && pf->fabric != fabric)
			continue;
		for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
			const uint8_t *admin = pf->fn[fn].s.admin_mac;

			if (mac_is_zero(admin) || (pf == skip_pf && fn == skip_fn))
				continue;
			if (mac_to_number(admin) - first <= count) {
				*ret_pf = pf;
				return &pf->fn[fn];
			}
		}
	}
	return NULL;
}

int model_mac_check_pf(const struct model *m, const struct model_fabric *fabric, const uint8_t mac[6],
		       uint32_t vfs, const struct model_pf *self, struct err *err)
{
	const struct model_pf *other = find_overlap(m, fabric, mac, vfs, self);
	char first[MAC_TEXT_MAX], last[MAC_TEXT_MAX];
	uint8_t end[6];

	if (other) {
		mac_add(other->mac, other->s.vfs, end);
		return err_set(
			err, EEXIST, "mac",
			"this MAC or one of those after it, which the VFs get, is among %s to %s of %s on the same fabric: choose another",
			mac_format(other->mac, first), mac_format(end, last), other->s.name);
	}
	for (unsigned int i = 0; i < m->pfs_n; i++) {
		other = m->pfs[i];
		if (other->fabric != fabric)
			continue;
		for (unsigned int fn = 0; fn <= other->s.vfs; fn++) {
			const uint8_t *admin = other->fn[fn].s.admin_mac;
			uint64_t n = mac_to_number(admin) - mac_to_number(mac);

			/* A function may keep its own permanent MAC as administrative one. */
			if (!mac_is_zero(admin) && n <= vfs && !(other == self && n == fn))
				return taken(other->s.name, fn, "administrative", admin, err);
		}
	}
	return 0;
}

int model_mac_check_admin(const struct model *m, const struct model_pf *pf, unsigned int fn,
			  const uint8_t mac[6], struct err *err)
{
	const struct model_pf *other;
	const struct model_function *f;
	unsigned int owner;

	if (mac_is_zero(mac))
		return 0;
	for (unsigned int i = 0; i < m->pfs_n; i++) {
		other = m->pfs[i];
		if (other->fabric == pf->fabric && owns_permanent(other, mac, &owner) &&
		    !(other == pf && owner == fn))
			return taken(other->s.name, owner, "permanent", mac, err);
	}
	f = find_admin(m, pf->fabric, mac, 0, pf, fn, &other);
	if (f)
		return taken(other->s.name, (unsigned int)(f - other->fn), "administrative", mac, err);
	return 0;
}

struct owned_mac {
	uint64_t mac;
	const struct model_pf *pf;
	unsigned int fn;
};

static int compare_owned(const void *a, const void *b)
{
	const struct owned_mac *x = a, *y = b;

	if (x->mac != y->mac)
		return x->mac < y->mac ? -1 : 1;
	if (x->pf->fabric != y->pf->fabric)
		return x->pf->fabric < y->pf->fabric ? -1 : 1;
	return 0;
}

/* Sorted rather than each against each: there may be 16384. */
int model_mac_check_all(const struct model *m, struct err *err)
{
	_cleanup_free_ struct owned_mac *list = NULL;
	size_t n = 0, room = 0;

	for (unsigned int i = 0; i < m->pfs_n; i++)
		room += m->pfs[i]->s.vfs + 1;
	if (!room)
		return 0;
	list = calloc(room, sizeof(*list));
	if (!list)
		return err_set(err, ENOMEM, NULL, "out of memory");

	for (unsigned int i = 0; i < m->pfs_n; i++) {
		const struct model_pf *pf = m->pfs[i];

		for (unsigned int fn = 0; fn <= pf->s.vfs; fn++) {
			const uint8_t *mac = pf->fn[fn].s.admin_mac;
			unsigned int owner;

			if (mac_is_zero(mac))
				continue;
			for (unsigned int j = 0; j < m->pfs_n; j++)
				if (m->pfs[j]->fabric == pf->fabric &&
				    owns_permanent(m->pfs[j], mac, &owner) &&
				    !(m->pfs[j] == pf && owner == fn))
					return taken(m->pfs[j]->s.name, owner, "permanent", mac, err);
			list[n++] = (struct owned_mac){mac_to_number(mac), pf, fn};
		}
	}
	qsort(list, n, sizeof(*list), compare_owned);
	for (size_t i = 1; i < n; i++)
		if (!compare_owned(&list[i - 1], &list[i]))
			return taken(list[i].pf->s.name, list[i].fn, "administrative",
				     list[i].pf->fn[list[i].fn].s.admin_mac, err);
	return 0;
}

/* A key of this machine. Where the machine has no identity, a random one for the life of this process: MACs
 * that were given out are kept in the state anyway. */
static void machine_key(uint8_t ret[16])
{
	static const sd_id128_t application =
		SD_ID128_MAKE(5b, 9c, 14, e7, 0f, 6a, 4d, 21, 9a, 7e, c3, 55, 18, b0, 62, fd);
	static sd_id128_t id;

	if (sd_id128_is_null(id) && sd_id128_get_machine_app_specific(application, &id) < 0 &&
	    sd_id128_randomize(&id) < 0)
		id = application;
	memcpy(ret, id.bytes, 16);
}

int model_mac_generate(const struct model *m, const char *name, uint32_t vfs, uint8_t ret[6], struct err *err)
{
	const struct model_pf *other;
	uint8_t key[16], mac[6];

	machine_key(key);
	for (unsigned int attempt = 0; attempt < GENERATE_ATTEMPTS; attempt++) {
		mac_generate(key, name, attempt, mac);
		if (!find_overlap(m, NULL, mac, vfs, NULL) &&
		    !find_admin(m, NULL, mac, vfs, NULL, 0, &other)) {
			memcpy(ret, mac, 6);
			return 0;
		}
	}
	return err_set(err, EEXIST, "mac", "found no free MAC for %s: give one", name);
}
