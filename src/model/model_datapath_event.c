/* SPDX-License-Identifier: Apache-2.0 */

/* Which datapath serves a function's rings now, as the data plane tells it, as events. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/model_private.h"
#include "settings/json_build.h"

static struct model_function *find(const struct model *m, const char *name, unsigned int fn,
				   struct model_pf **ret)
{
	struct model_pf *pf = model_lookup_pf(m, name);

	if (!pf || fn > pf->s.vfs)
		return NULL;
	*ret = pf;
	return &pf->fn[fn];
}

/* Where in the list in force; -1: not in it any more. */
static int position(const struct model_pf *pf, unsigned int fn, const struct datapath_pref *pref)
{
	struct datapath_list list = model_function_list(pf, fn);

	for (unsigned int i = 0; i < list.n; i++)
		if (datapath_pref_equal(&list.pref[i], pref))
			return (int)i;
	return -1;
}

static json_t *pref_json(const struct datapath_pref *pref)
{
	char text[256];

	return pref ? json_string(datapath_pref_text(pref, text)) : json_null();
}

static json_t *detail_of(const struct datapath_pref *from, const struct datapath_pref *to, const char *why)
{
	json_t *o = json_pack("{s:o, s:o}", "from", pref_json(from), "to", pref_json(to));

	if (why)
		json_put(&o, "reason", json_string(why));
	return o;
}

void model_on_datapath_changed(void *ctx, const char *pf_name, unsigned int fn,
			       const struct datapath_pref *from, const struct datapath_pref *to,
			       uint64_t gap_us, const char *why)
{
	struct model *m = ctx;
	struct model_pf *pf = NULL;
	struct model_function *f = find(m, pf_name, fn, &pf);
	json_t *detail = detail_of(from, to, why);
	char a[256] = "", b[256] = "";
	bool better;

	if (!f) {
		json_decref(detail);
		return;
	}
	if (from)
		datapath_pref_text(from, a);
	if (to)
		datapath_pref_text(to, b);
	if (!to) {
		bool lost = why != NULL;

		model_reportf(m, lost ? EVENT_DATAPATH_NONE : EVENT_DATAPATH_RELEASED,
			      lost ? LOG_LVL_WARNING : LOG_LVL_DEBUG, NULL, pf_name, (int)fn, detail, "%s%s",
			      lost ? "nothing serves it, so its link is down: "
				   : "nothing serves it any more",
			      lost ? why : "");
		return;
	}
	if (!from) {
		f->list_changed = false;
		model_reportf(m, EVENT_DATAPATH_BOUND, LOG_LVL_INFO, NULL, pf_name, (int)fn, detail,
			      "served by %s", b);
		return;
	}
	better = !f->list_changed && !why && position(pf, fn, from) > position(pf, fn, to);
	f->list_changed = false;
	json_put(&detail, "gap_us", json_integer((json_int_t)gap_us));
	model_reportf(m, better ? EVENT_DATAPATH_RETURNED : EVENT_DATAPATH_MOVED, LOG_LVL_NOTICE, NULL,
		      pf_name, (int)fn, detail, "%s from %s to %s, rings not served for %" PRIu64 " us%s%s",
		      better ? "returned" : "moved", a, b, gap_us, why ? ": " : "", why ? why : "");
}

void model_on_datapath_failed(void *ctx, const char *pf_name, unsigned int fn,
			      const struct datapath_pref *pref, const char *why)
{
	struct model *m = ctx;
	struct model_pf *pf = NULL;
	char text[256];

	if (!find(m, pf_name, fn, &pf))
		return;
	datapath_pref_text(pref, text);
	model_reportf(m, EVENT_DATAPATH_FAILED, LOG_LVL_WARNING, NULL, pf_name, (int)fn,
		      json_pack("{s:s, s:s}", "datapath", text, "reason", why), "%s: %s", text, why);
}
