package adapter

import "fmt"

// difference is how an answer differs from the recorded one, and why.
type difference struct {
	why    string
	status int
	body   string // is in the answer
}

// deliberate are the recorded requests that are answered differently, with the
// reason of each.
func deliberate() map[string]difference {
	out := map[string]difference{}
	add := func(config, why string, status int, body string, numbers ...int) {
		for _, n := range numbers {
			out[fmt.Sprintf("%s-%03d", config, n)] = difference{why, status, body}
		}
	}

	const operator = "an operator that PromQL lacks is a fault of the request, 400"
	add("c01-basic", "metricLabelSelector may have !=", 200, `"operator":"NotIn","values":["500"]`, 21)
	add("c01-basic", operator, 400, "no counterpart in PromQL", 56)
	add("c10-external", operator, 400, "no counterpart in PromQL", 17)

	const unknown = "a resource that is not there is 404, also with *"
	add("c01-basic", unknown, 404, "could not find the metric", 49)
	add("c02-container", unknown, 404, "could not find the metric", 29)
	add("c05-root", unknown, 404, "could not find the metric", 34)
	add("c13-nothing", unknown, 404, "could not find the metric", 14)

	const root = "a root-scoped resource is one, whichever it is"
	add("c05-root", root, 200, `"name":"storageclasses.storage.k8s.io/sc_iops","singularName":"","namespaced":false`, 2, 3)
	add("c05-root", root, 200, `"value":"150"`, 31, 32)

	const unaskable = "names that no request can carry, empty or with a slash, are not listed"
	add("c06-naming", unaskable, 200, `"pods/part_up"`, 2, 3)

	const broken = "a rule that cannot be evaluated is an error of the server, not an unknown metric"
	add("c07-query", broken, 500, "unable to fetch metrics", 30, 31, 32, 33, 34, 35, 42, 43, 44)
	add("c10-external", "as all errors of a rule, with its reason and without its text", 500, `"reason":"InternalError"`, 36)

	const none = "NaN and the infinities are no value"
	add("c09-values", none+"; beyond int64 the largest quantity", 200, "9223372036854775807m", 6, 7, 9)
	add("c09-values", none, 404, "for namespaces values", 8)
	add("c09-values", none, 404, "could not find the metric odd_value for pods v-", 10, 11, 12)
	add("c09-values", none, 200, `"items":[]`, 34, 35, 36)
	add("c09-values", "beyond int64 the largest quantity", 200, `"value":"9223372036854775807m"`, 27, 28, 29, 51, 52, 53)

	const rounded = "rounded, not cut off"
	add("c09-values", rounded, 200, `"value":"1m"`, 14, 38)
	add("c09-values", rounded, 200, `"value":"1001m"`, 15, 39)
	add("c09-values", rounded, 200, `"value":"-1m"`, 17, 41)
	add("c09-values", rounded, 200, `"value":"1"`, 33, 57)

	const quoted = "label names that need quotes get them"
	add("c10-external", quoted, 200, `"items":[]`, 19, 20)
	add("c10-external", quoted, 200, `{\"a.b/c-d\"=~\"x.y|z_0\",namespace=\"alpha\"}`, 79)

	const alone = "a bad seriesQuery costs its own rule only"
	add("c14-badseries", alone, 200, `"pods/dup_a"`, 2, 3)
	add("c14-badseries", alone, 200, `"value":"1"`, 6)
	add("c14-badseries", alone, 200, `"value":"1"`, 7)
	add("c14-badseries", alone, 200, `"value":"28"`, 8)
	return out
}
