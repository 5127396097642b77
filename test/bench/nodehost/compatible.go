package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// selfMetrics start the names of what an exporter says of itself, which is not
// of the host and its own affair.
func selfMetrics() []string {
	return []string{"go_", "process_", "promhttp_", "node_exporter_build_info", "node_scrape_collector_", "strata_node_collector_"}
}

// shown bounds the missing series that are printed: a family of them has one for
// each mount.
const shown = 10

// compatible prints how many of the host's series that the peer shows are
// there in ours too, and fails when one is not. Ours is asked before and after
// the peer, since devices and mounts come and go.
func compatible(ctx context.Context, programs [2]*program) error {
	var bodies [3]map[string]bool
	for i, p := range []*program{programs[0], programs[1], programs[0]} {
		body, err := p.scrape(ctx, "identity")
		if err != nil {
			return err
		}
		bodies[i] = hostSeries(string(body))
	}
	var missing []string
	for name := range bodies[1] {
		if !bodies[0][name] && !bodies[2][name] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for _, name := range missing[:min(len(missing), shown)] {
		fmt.Println("# missing " + name)
	}
	of := len(bodies[1])
	fmt.Printf("compat node_host right=%d of=%d\n", of-len(missing), of)
	if len(missing) > 0 || of == 0 {
		return fmt.Errorf("%d of %d series of the peer are missing", len(missing), of)
	}
	return nil
}

// hostSeries are the series of a body that are of the host: names with their
// labels, those in the order of their names.
func hostSeries(body string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		self := func(prefix string) bool { return strings.HasPrefix(line, prefix) }
		if line == "" || line[0] == '#' || slices.ContainsFunc(selfMetrics(), self) {
			continue
		}
		all[series(line)] = true
	}
	return all
}

// series takes the value off a line of the text format and sorts its labels.
// Neither program writes times of samples but those of textfile's, of which
// there are none by default.
func series(line string) string {
	name, rest, labelled := strings.Cut(line, "{")
	if !labelled {
		name, _, _ = strings.Cut(line, " ")
		return name
	}
	var labels []string
	for start, quoted, i := 0, false, 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '}'):
			if i > start {
				labels = append(labels, rest[start:i])
			}
			start = i + 1
			if c == '}' {
				slices.Sort(labels)
				return name + "{" + strings.Join(labels, ",") + "}"
			}
		}
	}
	return line // which is no sample
}
