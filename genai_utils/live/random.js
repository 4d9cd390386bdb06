// Random numbers that Python and the page draw alike: twin of random.py (mulberry32, Box-Muller).
class SharedRandom {
  constructor(seed) { this.state = seed | 0; }

  uniform() {
    let t = (this.state = (this.state + 0x6d2b79f5) | 0);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  normal(...shape) {
    const x = zeros(...shape);
    for (let i = 0; i < x.data.length; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform())), angle = 2 * Math.PI * this.uniform();
      x.data[i] = radius * Math.cos(angle);
      if (i + 1 < x.data.length) x.data[i + 1] = radius * Math.sin(angle);
    }
    return x;
  }

  /** An index drawn with probabilities p, which need not sum to 1. */
  pick(p) {
    let total = 0;
    const sums = Array.from(p, (v) => (total += v)), u = this.uniform() * total;
    const found = sums.findIndex((s) => s > u);
    return found < 0 ? p.length - 1 : found;
  }
}
