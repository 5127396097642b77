package main

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(10_000)
	body := `# TYPE container_memory_rss gauge
container_memory_rss{id="/",pod=""} 1 9000
container_memory_rss{id="/strata-bench/a",pod="{} "} 1 9500
container_memory_rss{id="/strata-bench/b",pod=""} 1 9900
machine_cpu_cores{} 2
`
	a, err := parse([]byte(body), now)
	if err != nil || a.series != 4 || a.containers != 2 || a.ages != 600*time.Millisecond || a.oldest != 500*time.Millisecond {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := parse([]byte("container_memory_rss{id=\"/strata-bench/a\"} 1\n"), now); err == nil {
		t.Fatal("a value without a time is taken")
	}
}
