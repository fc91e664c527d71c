// The layout and the keys of the review board. What a key means and what becomes of it is Python's (teaching.review);
// this file shows images, sends decisions, and keeps every one until Python has answered that it is saved.
const CHUNK = 4        // images in one message, so that a decision never waits long behind them
const PAGES_KEPT = 6   // on either side; what is farther away is forgotten
const SLOW = 1500      // milliseconds without an answer after which the board says so
const RETRY = 5000
const GONE = 15000     // a board that has not been heard of for so long is closed

function element(tag, attributes, ...children) {
  const e = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value)
  e.append(...children)
  return e
}

// Decisions that are not saved yet. They are in the browser's storage too, for the next board of this plan.
class Outbox {
  constructor(plan) {
    this.prefix = `cytokit-review ${plan} `
    this.name = this.prefix + Date.now().toString(36) + Math.random().toString(36).slice(2)
    Object.assign(this, { events: [], count: 0 })
  }
  add(event) {
    this.events.push({ id: `${this.name} ${this.count++}`, at: Date.now(), ...event })
    this.store()
  }
  saved(ids) {
    this.events = this.events.filter(event => !ids.includes(event.id))
    this.store()
  }
  holds(image) { return this.events.some(event => event.image === image) }
  store(alive = Date.now()) {
    try {
      if (this.events.length) localStorage.setItem(this.name, JSON.stringify({ alive, events: this.events }))
      else localStorage.removeItem(this.name)
    } catch { /* no storage here: they are kept as long as the page is open */ }
  }
  adopt() {
    const count = this.events.length
    try {
      for (const name of Object.keys(localStorage)) {
        if (!name.startsWith(this.prefix) || name === this.name) continue
        const left = JSON.parse(localStorage.getItem(name))
        if (Date.now() - left.alive < GONE) continue
        this.events.unshift(...left.events)
        localStorage.removeItem(name)
      }
      this.store()
    } catch { /* no storage here */ }
    return this.events.length > count
  }
}

class Board {
  constructor(model, el) {
    Object.assign(this, { model, setup: model.get('setup'), items: new Map(), large: new Map(), made: [], failed: '' })
    this.outbox = new Outbox(this.setup.plan)
    this.at = this.setup.start
    this.waiting = {}  // kind of a message that was not answered yet: when it was sent
    this.build(el)
    this.hear = this.hear.bind(this)
    this.leave = () => this.outbox.store(0)
    model.on('msg:custom', this.hear)
    addEventListener('pagehide', this.leave)
    this.timer = setInterval(() => this.tick(), 500)
    this.send({ kind: 'look' })
    this.show()
    const writing = () => document.activeElement?.matches('input, textarea, [contenteditable=true]')
    setTimeout(() => writing() || this.focus(), 300)
  }
  end() {  // a kernel that dies closes its boards, but they stay on the page and keep what is typed
    clearInterval(this.timer)
    removeEventListener('pagehide', this.leave)
    this.model.off('msg:custom', this.hear)
    this.leave()
    for (const number of this.items.keys()) this.forget(number)
  }

  build(el) {
    this.root = element('div', { class: 'cytokit-review', 'data-lm-suppress-shortcuts': 'true' })
    this.root.innerHTML = this.setup.page
    for (const part of this.root.querySelectorAll('[class]')) this[part.className] = part
    this.tiles = [...this.grid.children]
    this.root.addEventListener('keydown', event => this.onKey(event))
    this.tools.addEventListener('mousedown', event => event.preventDefault())
    this.tools.addEventListener('click', event => this.onButton(event))
    this.grid.addEventListener('click', event => this.onTile(event))
    this.grid.addEventListener('dblclick', () => this.run('zoom'))
    el.append(this.root)
  }
  focus() { this.grid.focus({ preventScroll: true }) }
  get first() { return this.at - this.at % this.setup.per_page }
  say(words) { this.status.textContent = words }

  show() {
    const { n, per_page, reviewed } = this.setup, seen = this.zoomed ? this.closeup : this.tiles[this.at - this.first]
    this.tiles.forEach((tile, k) => this.fill(tile, this.first + k))
    this.grid.setAttribute('aria-activedescendant', this.tiles[this.at - this.first].id)
    this.bar.value = reviewed
    const pages = `page ${Math.floor(this.at / per_page) + 1} of ${Math.ceil(n / per_page)}`
    this.count.textContent = `${reviewed} of ${n} reviewed · ${pages}`
    this.closeup.hidden = !this.zoomed
    this.root.classList.toggle('zoomed', Boolean(this.zoomed))
    if (this.zoomed) this.enlarge()
    if (this.root.contains(document.activeElement)) seen.scrollIntoView({ block: 'nearest' })
    this.ask()
  }
  fill(tile, number) {
    const item = this.items.get(number), mark = item && this.mark(item), shown = `${number} ${mark}`
    tile.hidden = number >= this.setup.n
    tile.setAttribute('aria-selected', number === this.at)
    if (tile.shown === shown) return
    Object.assign(tile, { shown }).dataset.number = number
    tile.dataset.action = item?.state.reviewed ? item.state.action : ''
    const frame = element('div', { class: 'frame' }, item ? item.picture ?? `⚠ ${item.error}` : 'coming …')
    const texts = { mark, target: item?.target, words: item?.words, name: item?.name }
    const lines = Object.entries(texts).filter(([, text]) => text)
    tile.replaceChildren(frame, ...lines.map(([name, text]) => element('div', { class: name, title: text }, text)))
  }
  mark({ state, image }) {
    const words = { keep: '✓ keep', drop: '✕ drop', relabel: `→ ${state.to}` }[state.action] ?? state.action
    if (!state.reviewed) return words && state.action !== 'keep' ? `proposed: ${words}` : '–'
    return this.outbox.holds(image) ? `${words} ${this.warning.hidden ? '…' : '(not saved yet)'}` : words
  }
  enlarge() {
    const item = this.items.get(this.at)
    const picture = this.large.get(this.at) ?? item?.picture?.cloneNode() ?? item?.error ?? 'coming …'
    const words = item ? [this.mark(item), item.target, item.words, item.name].filter(text => text).join(' · ') : ''
    this.closeup.replaceChildren(picture, element('div', {}, words))
    const wanted = [this.at, this.at + 1].find(number => number < this.setup.n && !this.large.has(number))
    if (wanted !== undefined && !this.waiting.large) this.send({ kind: 'large', number: wanted })
  }

  onKey(event) {
    if (event.altKey || event.target.tagName === 'BUTTON' && [' ', 'Enter'].includes(event.key)) return
    let key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    if (event.shiftKey && key === ' ') key = 'Shift+ '
    if (event.ctrlKey || event.metaKey) key = `Control+${key}`
    const command = key === 'Escape' && this.zoomed ? 'zoom' : this.setup.keys[key]
    if (!command) return
    event.preventDefault()
    event.stopPropagation()
    if (!event.repeat || ['left', 'right', 'up', 'down'].includes(command)) this.run(command)
  }
  onTile(event) {
    const tile = event.target.closest('[role=option]')
    if (tile) this.go(Number(tile.dataset.number))
  }
  onButton(event) {
    const button = event.target.closest('button')
    if (button) this.run(button.dataset.command)
    if (event.detail) this.focus()  // of a mouse; who works by Tab stays on the button
  }
  run(command) {
    const size = this.setup.per_page
    const columns = this.tiles.filter(tile => tile.offsetTop === this.tiles[0].offsetTop).length
    const places = { left: this.at - 1, right: this.at + 1, up: this.at - columns, down: this.at + columns, first: 0,
      last: this.setup.n - 1, next: this.first + size, previous: this.first - size }
    if (command in places) this.go(places[command])
    else if (command === 'undo') this.undo()
    else if (command === 'rest') this.keepRest()
    else if (command === 'help') this.help.hidden = !this.help.hidden
    else if (command === 'zoom') { this.zoomed = !this.zoomed; this.show() }
    else if (command.startsWith('class ')) this.decide('relabel', command.slice(6))
    else this.decide(command, '')
  }
  go(number) {
    this.at = Math.min(Math.max(number, 0), this.setup.n - 1)
    this.show()
  }
  decide(action, to) {
    const item = this.items.get(this.at)
    if (!item) return this.say('This image is still coming; nothing was decided.')
    if (action === 'relabel' && to === item.target) this.set(this.at, item, 'keep', '')
    else this.set(this.at, item, action, to)
    this.say(`${item.name}: ${this.mark(item)}`)
    this.go(this.at + 1)
    this.flush()
  }
  set(number, item, action, to) {
    this.outbox.add({ image: item.image, action, to, seen: this.outbox.holds(item.image) ? null : item.state })
    this.made.push({ number, image: item.image, name: item.name, before: item.state })
    item.state = { action, to, reviewed: 'now', by: '' }
  }
  keepRest() {
    for (let number = this.first; number < this.first + this.setup.per_page; number++) {
      const item = this.items.get(number)
      if (item && !item.state.reviewed) this.set(number, item, 'keep', '')
    }
    this.say('The rest of the page is kept.')
    this.go(this.first + this.setup.per_page)
    this.flush()
  }
  undo() {
    const last = this.made.pop()  // of an earlier session Python knows the last
    this.outbox.add({ image: last?.image ?? null, action: '', to: '', seen: null })
    if (last) {
      if (this.items.has(last.number)) this.items.get(last.number).state = last.before
      this.say(`${last.name}: taken back`)
      this.go(last.number)
    }
    this.flush()
  }

  send(message) {
    this.waiting[message.kind] = Date.now()
    try { this.model.send(message) } catch { /* the kernel is gone; `warn` says so, and what is to be saved is kept */ }
  }
  flush() {
    const now = Date.now()
    if (!this.outbox.events.length || now - (this.waiting.save ?? 0) < RETRY) return
    this.send({ kind: 'save', events: this.outbox.events.map(event => ({ ...event, age: now - event.at })) })
  }
  ask() {
    if (this.waiting.images) return
    const { per_page, n } = this.setup, pages = [0, 1, 2, -1].map(page => this.first + page * per_page)
    const numbers = pages.flatMap(first => Array.from({ length: per_page }, (_, k) => first + k))
    const wanted = numbers.filter(number => number >= 0 && number < n && !this.items.has(number))
    if (wanted.length) this.send({ kind: 'images', numbers: wanted.slice(0, CHUNK) })
  }
  hear(message, buffers) {
    this.failed = message.kind === 'failed' ? message.error : message.kind === 'save' ? '' : this.failed
    if (message.kind !== 'failed') delete this.waiting[message.kind]  // what failed is asked again later
    this.heard = Date.now()
    message.items?.forEach((item, k) => this.receive(item, buffers[k]))
    if (message.kind === 'large') this.large.set(message.number, this.picture(buffers[0], message.name))
    if (this.large.size > 4) this.large.delete(this.large.keys().next().value)
    if (message.kind === 'look' && !this.looked && !this.made.length) this.at = message.start
    this.looked ||= message.kind === 'look'
    if (message.kind === 'save') this.outbox.saved(message.ids)
    if (message.kind === 'save' && !this.looked) this.send({ kind: 'look' })
    if (message.said) this.say(message.said)
    this.at = message.go ?? this.at
    for (const [number, state] of Object.entries(message.states ?? {})) {
      const item = this.items.get(Number(number))
      if (item && !this.outbox.holds(item.image)) item.state = state
    }
    this.setup.reviewed = message.reviewed ?? this.setup.reviewed
    this.show()
    this.flush()
    this.warn()
  }
  picture(buffer, name) {
    const image = element('img', { alt: name, src: URL.createObjectURL(new Blob([buffer])) })
    image.decode().catch(() => {})  // ahead, so that it is painted at once
    return image
  }
  receive(item, buffer) {
    const before = this.items.get(item.number), reach = PAGES_KEPT * this.setup.per_page
    if (!item.error) item.picture = this.picture(buffer, item.name)
    if (before && this.outbox.holds(item.image)) item.state = before.state
    this.items.set(item.number, item)
    for (const number of this.items.keys()) if (Math.abs(number - this.at) > reach) this.forget(number)
  }
  forget(number) {
    URL.revokeObjectURL(this.items.get(number).picture?.src)
    this.items.delete(number)
  }
  tick() {
    if (!this.root.isConnected) return this.end()
    if (this.outbox.adopt()) this.looked = false
    this.flush()
    const quiet = Date.now() - Math.max(this.heard ?? 0, this.waiting.look ?? 0)
    if (quiet > RETRY && document.visibilityState === 'visible') this.send({ kind: 'look' })
    if (Date.now() - this.waiting.images > 4 * RETRY) delete this.waiting.images
    this.ask()
    this.warn()
  }
  warn() {
    const n = this.outbox.events.length, first = Math.min(Date.now(), ...Object.values(this.waiting))
    const seconds = Math.round((Date.now() - first) / 1000)
    const kept = n ? `${n} decision${n > 1 ? 's are' : ' is'} not saved yet, and kept in this browser. ` : ''
    let words = ''
    if (this.failed) words = `${this.failed}. ${kept}`
    else if (Date.now() - first > SLOW) {
      words = `The kernel has not answered for ${seconds} s: it is busy, or was stopped. ${kept}` +
        'After a restart run the cell again.'
    }
    const changed = this.warning.hidden !== !words
    this.warning.hidden = !words
    if (this.warning.textContent !== words) this.warning.textContent = words
    if (changed) this.show()
  }
}

export default {
  render({ model, el }) {
    const board = new Board(model, el)
    return () => board.leave()
  },
}
