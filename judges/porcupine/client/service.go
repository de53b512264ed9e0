package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long a client waits for a response, and everybody for the service to come back.
const (
	patience        = 3 * time.Second
	patienceRestart = 60 * time.Second
)

// service is the service under test.
type service struct {
	base, token string
	http        *http.Client
	began       time.Time
	supervisor  int
	restarts    sync.RWMutex // held for writing while the service is down
}

// response is what a client sees; no status is no response.
type response struct {
	status       int
	retryAfter   bool
	isRefused    bool // no connection, so nothing was sent
	isUnreadable bool // no JSON
	call, back   int64
	Code         string `json:"code"`
	ID           string `json:"participationId"`
	Rank         int64  `json:"rank"`
	Quantity     int64  `json:"quantity"`
	Remaining    *int64 `json:"remaining"`
	User         int64  `json:"userId"`
	Status       any    `json:"status"` // of a participation: a word; of a problem: a number
	CampaignID   int64  `json:"id"`
	CurrentStock *int64 `json:"currentStock"`
	Items        []response
	NextCursor   string `json:"nextCursor"`
	text         []byte
}

func newService(address, token string, supervisor, clients int) *service {
	transport := &http.Transport{
		MaxIdleConnsPerHost: clients,
		MaxConnsPerHost:     2 * clients,
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
	}
	return &service{
		base: "http://" + address, token: token, began: time.Now(), supervisor: supervisor,
		http: &http.Client{Transport: transport, Timeout: patience},
	}
}

func (service *service) now() int64 { return time.Since(service.began).Nanoseconds() }

// ask sends a request of a user; of nobody, or for /api/admin of an administrator, if there is none. A body makes it a
// POST.
func (service *service) ask(user int64, path, key string, body any) (answer response) {
	method, reader := http.MethodGet, io.Reader(nil)
	if body != nil {
		written, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		method, reader = http.MethodPost, bytes.NewReader(written)
	}
	request, err := http.NewRequestWithContext(context.Background(), method, service.base+path, reader)
	if err != nil {
		panic(err)
	}
	// Go repeats a request with this header by itself when a connection is lost; without GetBody it cannot.
	request.GetBody = nil
	request.Header.Set("Content-Type", "application/json")
	// Not all with the token: what an administrator does for a user takes a slower way, with an audit entry.
	switch {
	case user > 0:
		request.Header.Set("Authorization", fmt.Sprint(user))
	case strings.HasPrefix(path, "/api/admin/"):
		request.Header.Set("Authorization", "Bearer "+service.token)
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	call := service.now()
	got, err := service.http.Do(request)
	if err == nil {
		answer.text, err = io.ReadAll(got.Body)
		got.Body.Close()
	}
	if err == nil {
		answer.status, answer.retryAfter = got.StatusCode, got.Header.Get("Retry-After") != ""
		answer.isUnreadable = json.Unmarshal(answer.text, &answer) != nil
	}
	answer.isRefused = errors.Is(err, syscall.ECONNREFUSED)
	answer.call, answer.back = call, service.now()
	return answer
}

// askUntil repeats a request that changes nothing twice, until it has this status, or is refused for good.
func (service *service) askUntil(status int, path string, body any) (response, error) {
	last := response{}
	for began := time.Now(); time.Since(began) < patienceRestart; time.Sleep(20 * time.Millisecond) {
		if last = service.ask(0, path, "", body); last.status == status {
			return last, nil
		}
		if last.status == http.StatusConflict {
			break
		}
	}
	return last, fmt.Errorf("%s: %d %s", path, last.status, last.text)
}

// waitWhileDown returns when the service runs.
func (service *service) waitWhileDown() {
	service.restarts.RLock()
	service.restarts.RUnlock()
}

// process returns the process that the supervisor has started; 0: none at the moment.
func (service *service) process() int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", service.supervisor, service.supervisor))
	if err != nil {
		return 0
	}
	process := 0
	fmt.Sscan(string(children), &process)
	return process
}

// kill ends the service with SIGKILL, and waits until the one that its supervisor starts then is ready.
func (service *service) kill() error {
	killed := service.process()
	if killed == 0 {
		return errors.New("the supervisor runs no service")
	}
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		return err
	}
	service.restarts.Lock()
	defer service.restarts.Unlock()
	for began := time.Now(); time.Since(began) < patienceRestart; time.Sleep(10 * time.Millisecond) {
		if process := service.process(); process != 0 && process != killed {
			_, err := service.askUntil(http.StatusOK, "/readyz", nil)
			return err
		}
	}
	return errors.New("the service did not come back after a kill")
}
