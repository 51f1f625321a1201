// What both programs share: requests and reports as lines of JSON, and a closed loop of calls.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// mostPutsPerTransaction is etcd's own default of --max-txn-ops.
const mostPutsPerTransaction = 128

// callersOfMany is how many transactions are in flight at least, as with our own propose_many.
const callersOfMany = 4

type order struct {
	Mode        string  `json:"mode"`
	Outstanding int     `json:"outstanding"`
	Seconds     float64 `json:"seconds"`
	WarmSeconds float64 `json:"warm_seconds"`
}

type request struct {
	Ask      string `json:"ask"`
	Order    order  `json:"order"`
	Count    int64  `json:"count"`
	Endpoint string `json:"endpoint"`
}

type report map[string]interface{}

// call commits or reads once; it is made for one caller, which uses it alone.
type call func() error

// serve answers requests until the parent ends.
func serve(answer func(request) (report, error)) {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			fail(err)
		}
		found, err := answer(asked)
		if err != nil {
			found = report{"error": err.Error()}
		}
		encoded, err := json.Marshal(found)
		if err != nil {
			fail(err)
		}
		fmt.Println(string(encoded))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// monotonicSeconds is the clock that all processes of the machine share.
func monotonicSeconds() float64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		fail(err)
	}
	return float64(now.Sec) + float64(now.Nsec)/1e9
}

// shape says how many callers there are, and how many commands each sends at a time.
func (o order) shape() (callers, size int) {
	if o.Mode != "many" {
		return o.Outstanding, 1
	}
	callers = callersOfMany
	if o.Outstanding < callers {
		callers = o.Outstanding
	}
	for o.Outstanding/callers > mostPutsPerTransaction {
		callers++
	}
	return callers, o.Outstanding / callers
}

// run keeps all callers calling, and reports on the time between the warm-up and the end.
func (o order) run(newCall func(caller, callers, size int) call) report {
	callers, size := o.shape()
	var isMeasuring, isOver int32
	var calls, failures, measured int64
	latencies := make([][]float64, callers)
	var all sync.WaitGroup
	for caller := 0; caller < callers; caller++ {
		all.Add(1)
		go func(caller int) {
			defer all.Done()
			once := newCall(caller, callers, size)
			for atomic.LoadInt32(&isOver) == 0 {
				begin := time.Now()
				if err := once(); err != nil {
					atomic.AddInt64(&failures, int64(size))
					time.Sleep(10 * time.Millisecond)
					continue
				}
				atomic.AddInt64(&calls, 1)
				if atomic.LoadInt32(&isMeasuring) == 1 {
					atomic.AddInt64(&measured, 1)
					latencies[caller] = append(latencies[caller], time.Since(begin).Seconds()*1000)
				}
			}
		}(caller)
	}
	time.Sleep(time.Duration(o.WarmSeconds * float64(time.Second)))
	begin := time.Now()
	atomic.StoreInt32(&isMeasuring, 1)
	time.Sleep(time.Duration(o.Seconds * float64(time.Second)))
	atomic.StoreInt32(&isMeasuring, 0)
	count := atomic.LoadInt64(&measured)
	seconds := time.Since(begin).Seconds()
	atomic.StoreInt32(&isOver, 1)
	all.Wait()
	found := report{
		"rate":             float64(count) * float64(size) / seconds,
		"measured_seconds": seconds,
		"acknowledged":     calls * int64(size),
		"calls":            calls,
		"failures":         failures,
	}
	var sorted []float64
	for _, some := range latencies {
		sorted = append(sorted, some...)
	}
	sort.Float64s(sorted)
	if len(sorted) > 0 {
		found["latency_p50_ms"] = sorted[len(sorted)/2]
		found["latency_p99_ms"] = sorted[len(sorted)*99/100]
		found["latency_max_ms"] = sorted[len(sorted)-1]
	}
	return found
}

// makeKeys returns as many keys, and a value so long that key and value have that size.
func makeKeys(count, commandBytes int) (keys []string, value string) {
	for number := 0; number < count; number++ {
		keys = append(keys, fmt.Sprintf("k%08d", number))
	}
	padding := make([]byte, commandBytes-len(keys[0]))
	for place := range padding {
		padding[place] = 'x'
	}
	return keys, string(padding)
}
