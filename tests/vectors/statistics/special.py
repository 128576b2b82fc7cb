"""Holds the functions of core/src/statistics/distribution.rs to mpmath, and writes their golden vectors.

    pip install mpmath==1.4.1 gmpy2 scipy==1.17.1 statsmodels==0.15.0
    cargo build --release -p ab-core --example special_functions
    python special.py check [arguments in all, 100000 unless told] [path of the program] [seed]
    python special.py time [arguments in all] [path of the program]
    python special.py vectors [path of the program]

`check` draws seeded arguments over the whole range of every function, prints each function's worst relative error and
where it is, and fails above 1e-12 (1e-11 for a quantile). `vectors` writes special_functions.json beside this script.

Every reference value is computed at 50 digits and more for exactly the doubles that the program was given, so that an
argument's own last digit is no excuse; how much that digit alone may change the result is printed beside the error. The
areas of beta and gamma distributions come from power series or, with large parameters, from quadrature of the density;
where SciPy or mpmath itself has a function that holds, the reference is checked against it here.

A quantile's error is Newton's step from it at 50 digits: (area - target) / (x density), with the smaller tail.
"""

import math
import random
import subprocess
import sys
from collections import defaultdict
from multiprocessing import Pool
from pathlib import Path

import mpmath as mp
from scipy import special

from generate import agree, exact, shown, write

PROGRAM = Path(__file__).parents[3] / "target/release/examples/special_functions"
SMALLEST = mp.mpf("1e-300")
# Below this a result and the error of a complement of it no longer matter.
NOTHING = -720
# From here on the density is integrated.
LARGE = 30


# References


def rule(nodes):
    """Gauss-Legendre on [0, 1]."""
    with mp.workdps(60):
        pairs = []
        for k in range(1, nodes // 2 + 1):
            x = mp.cos(mp.pi * (k - mp.mpf(1) / 4) / (nodes + mp.mpf(1) / 2))
            for _ in range(8):
                before, value = mp.mpf(1), x
                for degree in range(2, nodes + 1):
                    before, value = value, ((2 * degree - 1) * x * value - (degree - 1) * before) / degree
                slope = nodes * (x * value - before) / (x * x - 1)
                x -= value / slope
            weight = 1 / ((1 - x * x) * slope**2)
            pairs += [((1 - x) / 2, weight), ((1 + x) / 2, weight)]
        return pairs


RULE = rule(80)


def integral(ratio, slope, curvature):
    """The integral of ratio(u) from 0 on, where ratio(0) = 1 and the logarithm of ratio is concave."""
    end = 2 * 70 / (slope + mp.sqrt(slope**2 + 2 * 70 * curvature))
    while ratio(end) > mp.mpf("1e-30"):
        end *= mp.mpf("1.3")
    while ratio(end) < mp.mpf("1e-45"):
        end /= mp.mpf("1.2")
    return end * mp.fsum(weight * ratio(end * node) for node, weight in RULE)


def series(ratio):
    """1 + ratio(0) + ratio(0) ratio(1) + ..., to the last digit."""
    term = total = mp.mpf(1)
    k = 0
    while term > total * mp.eps:
        term *= ratio(k)
        total += term
        k += 1
    return total


def beta_areas(x, y, a, b):
    """Areas below and above x = 1 - y and the density of the logit; None for what is below 1e-300."""
    if a < (a + b) * x:
        above, below, density = beta_areas(y, x, b, a)
        return below, above, density
    n = a + b
    with mp.workdps(90):
        ln_density = a * mp.log(x) + b * mp.log(y) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(n)
        density = mp.exp(ln_density)
    if min(a, b) >= LARGE:
        if ln_density < NOTHING - 30:
            return None, mp.mpf(1), density
        with mp.workdps(70):
            ratio = lambda u: mp.exp(-a * u - n * mp.log1p(x * mp.expm1(-u)))
            below = density * integral(ratio, a - n * x, n * x * y)
        return below, 1 - below, density
    if x <= 0.6:
        with mp.workdps(60):
            below = density / a * series(lambda k: x * (n + k) / (a + 1 + k))
        above = 1 - below
        if above < mp.mpf("1e-12"):
            return mp.mpf(1), above_by_more_digits(x, y, a, b), density
        return below, above, density
    # The area below may be far smaller than one: its complement needs as many digits more.
    if ln_density < NOTHING - 30:
        return None, mp.mpf(1), density
    with mp.workdps(400):
        n = a + b
        density = mp.exp(a * mp.log(x) + b * mp.log(y) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(n))
        above = density / b * series(lambda k: y * (n + k) / (b + 1 + k))
        below = 1 - above
    return +below, +above, +density


def complement(x):
    """1 - x to the last digit, however small x is."""
    with mp.workdps(450):
        return 1 - x


def above_by_more_digits(x, y, a, b):
    with mp.workdps(400):
        return 1 - mp.exp(a * mp.log(x) + b * mp.log(y) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(a + b)) / a * series(
            lambda k: x * (a + b + k) / (a + 1 + k)
        )


def gamma_areas(x, a):
    """Areas below and above x of the gamma distribution, and the density of ln x."""
    with mp.workdps(90):
        ln_density = a * mp.log(x) - x - mp.loggamma(a)
        density = mp.exp(ln_density)
    if a >= LARGE:
        if ln_density < NOTHING - 30:
            return (None, mp.mpf(1), density) if x < a else (mp.mpf(1), None, density)
        with mp.workdps(70):
            if x <= a:
                below = density * integral(lambda u: mp.exp(-a * u - x * mp.expm1(-u)), a - x, x)
                return below, 1 - below, density
            # From x on in t = x + (t - x), whose exponent is nearer to a straight line far out.
            above = density * integral(lambda u: mp.exp((a - 1) * mp.log1p(u) - x * u), x - a, a)
            return 1 - above, above, density
    if x > a and ln_density < NOTHING - 30:
        return mp.mpf(1), None, density
    with mp.workdps(60 if x < a else 400):
        density = mp.exp(a * mp.log(x) - x - mp.loggamma(a))
        below = density / a * series(lambda k: x / (a + 1 + k))
        above = 1 - below
    return +below, +above, +density


def student_tail(t, df):
    """P(T > |t|) and the density of ln t."""
    with mp.workdps(450):
        ratio = t * t / df
        x, y = 1 / (1 + ratio), ratio / (1 + ratio)
    below, _, density = beta_areas(x, y, df / 2, mp.mpf(1) / 2)
    # The logit changes twice as fast as ln t, and half of the area is that of negative t.
    return None if below is None else below / 2, density


def ln_binomial(k, n, p):
    with mp.workdps(90):
        ways = mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)
        return ways + (k * mp.log(p) if k else 0) + ((n - k) * mp.log1p(-p) if n > k else 0)


def ln_choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def ln_hypergeometric(k, population, successes, draws):
    with mp.workdps(90):
        return ln_choose(successes, k) + ln_choose(population - successes, draws - k) - ln_choose(population, draws)


def normal_tail(z):
    return mp.erfc(z / mp.sqrt(2)) / 2


def normal_density(z):
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def lambert_w_minus_1(x):
    """Newton's method for w + ln(-w) = ln(-x) from the left, where it cannot pass the root."""
    target = mp.log(-x)
    w = target - mp.log(-target) - 2
    for _ in range(200):
        step = (target - w - mp.log(-w)) / (1 + 1 / w)
        w += step
        if abs(step) < mp.mpf("1e-40") * abs(1 + w):
            return w
    raise ArithmeticError(x)


def twice(number):
    return None if number is None else 2 * number


def student_below(t, df):
    if t == 0:
        return mp.mpf(1) / 2
    tail = student_tail(t, df)[0]
    if tail is None:
        return None if t < 0 else mp.mpf(1)
    return tail if t < 0 else 1 - tail


VALUES = {
    "normal_cdf": lambda z: normal_tail(-z),
    "normal_survival": normal_tail,
    "normal_two_sided": lambda z: 2 * normal_tail(abs(z)),
    "normal_density": normal_density,
    "ln_normal_survival": lambda z: mp.log(normal_tail(z)) if z > 0 else mp.log1p(-normal_tail(-z)),
    "student_cdf": student_below,
    "student_survival": lambda t, df: student_below(-t, df),
    "student_two_sided": lambda t, df: twice(student_tail(t, df)[0]) if t else mp.mpf(1),
    "chi_square_cdf": lambda x, df: gamma_areas(x / 2, df / 2)[0],
    "chi_square_survival": lambda x, df: gamma_areas(x / 2, df / 2)[1],
    "beta_cdf": lambda x, a, b: beta_areas(x, complement(x), a, b)[0],
    "beta_survival": lambda x, a, b: beta_areas(x, complement(x), a, b)[1],
    "binomial_cdf": lambda k, n, p: beta_areas(p, complement(p), k + 1, n - k)[1],
    "binomial_survival": lambda k, n, p: beta_areas(p, complement(p), k + 1, n - k)[0],
    "ln_beta": lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b),
    "ln_beta_density": lambda x, a, b: (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - VALUES["ln_beta"](a, b),
    "ln_gamma": mp.loggamma,
    "ln_binomial_mass": ln_binomial,
    "ln_hypergeometric_mass": ln_hypergeometric,
    "lambert_w_minus_1": lambert_w_minus_1,
}


def student_quantile_areas(t, df):
    tail, density = student_tail(t, df)
    return (tail, 1 - tail, density) if t < 0 else (1 - tail, tail, density)


def beta_quantile_areas(x, a, b):
    below, above, density = beta_areas(x, complement(x), a, b)
    return below, above, density / (1 - x)


# For each quantile: the areas below and above a value and what the area changes by when the value grows by a factor e,
# and which of them its first argument is: the one below, above, or both tails.
QUANTILES = {
    "normal_quantile": ("below", lambda z: (normal_tail(-z), normal_tail(z), abs(z) * normal_density(z))),
    "normal_critical": ("both", lambda z: (normal_tail(-z), normal_tail(z), abs(z) * normal_density(z))),
    "student_quantile": ("below", student_quantile_areas),
    "student_critical": ("both", student_quantile_areas),
    "chi_square_quantile_upper": ("above", lambda x, df: gamma_areas(x / 2, df / 2)),
    "beta_quantile": ("below", beta_quantile_areas),
}


def excess(name, arguments, x):
    """How much more than it should be the area below x is, by the smaller tail, and what it changes by when x grows by
    a factor e."""
    kind, areas = QUANTILES[name]
    target, rest = arguments[0], arguments[1:]
    below, above, slope = areas(x, *rest)
    if kind == "below":
        below_target, above_target = target, 1 - target
    elif kind == "above":
        below_target, above_target = 1 - target, target
    else:
        below_target, above_target = 1 - target / 2, target / 2
    return ((below or 0) - below_target if below_target < above_target else above_target - (above or 0)), slope


def quantile_error(name, arguments, found):
    """Relative error of a quantile, and that which half of the last digit of the area makes."""
    area, slope = excess(name, arguments, found)
    widths = [mp.mpf(10) ** exponent for exponent in range(-15, 0)]
    if slope:
        error, own = area / slope, arguments[0] * 2.0**-53 / slope
        if abs(error) < 1e-12:
            return error, own
        widths.append(abs(error) * mp.mpf("1.001"))
    # A greater step may be wrong, as it is next to 1, where doubles are too coarse for it: the least bracket of the
    # quantile, of powers of ten and the step itself.
    for width in sorted(width for width in widths if width < 1):
        low, high = sorted((found * (1 - width), found * (1 + width)))
        ends = (excess(name, arguments, x)[0] if name != "beta_quantile" or x < 1 else mp.mpf(1) for x in (low, high))
        if next(ends) <= 0 <= next(ends):
            return width, own if slope else mp.mpf(0)
    return mp.inf, mp.mpf(0)


def is_logarithm(name):
    """Whether a function gives the logarithm of a quantity whose relative error matters, and may itself be 0."""
    return name.startswith("ln_") and name not in ("ln_normal_survival", "ln_gamma")


def value_error(name, arguments, found):
    """Relative error of a value, absolute for a logarithm between -1 and 1, and the reference; None below 1e-300."""
    value = VALUES[name](*arguments)
    logarithm = is_logarithm(name)
    if not logarithm and (value is None or abs(value) < SMALLEST):
        return (mp.mpf(0), None) if abs(found) < 1.1e-300 else (mp.inf, None)
    return (found - value) / (max(1, abs(value)) if logarithm else abs(value) or 1), value


def compare(line):
    """(name, arguments, found, relative error, error by the argument's own last digit, reference)."""
    name, arguments, found = line
    mp.mp.dps = 50
    numbers = [exact(number) for number in arguments]
    if not math.isfinite(found):
        return name, arguments, found, mp.inf, None, None
    if name in QUANTILES:
        if abs(found) < 1e-300 or (name == "beta_quantile" and found == 1.0):
            return name, arguments, found, mp.mpf(0), None, None
        error, own = quantile_error(name, numbers, exact(found))
        return name, arguments, found, float(error), float(own), exact(found) / (1 + error)
    error, value = value_error(name, numbers, exact(found))
    return name, arguments, found, float(error), None, value


# Arguments


class Draw:
    """Seeded arguments over the whole range of each."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def area(self):
        """Both tails down to 1e-300 and the centre, as a double in (0, 1)."""
        kind = self.rng.random()
        if kind < 0.4:
            return 10 ** self.rng.uniform(-300, 0)
        if kind < 0.6:
            return 10 ** self.rng.uniform(-12, 0)
        if kind < 0.9:
            return self.rng.uniform(0, 1)
        return 1 - 10 ** self.rng.uniform(-15, -0.31)

    def df(self):
        kind = self.rng.random()
        return float(self.rng.randint(1, 100)) if kind < 0.2 else 10 ** self.rng.uniform(0, 12 if kind < 0.9 else 2)

    def parameter(self):
        kind = self.rng.random()
        if kind < 0.15:
            return self.rng.randint(1, 200) / 2
        if kind < 0.3:
            return 10 ** self.rng.uniform(-4, 0)
        return 10 ** self.rng.uniform(-0.3, 9)

    def count(self):
        return int(10 ** self.rng.uniform(0, 9))

    def binomial(self):
        """k, n and p with k from one tail to the other."""
        n = self.count()
        p = self.rng.choice([self.rng.uniform(0, 1), 10 ** self.rng.uniform(-9, 0)])
        spread = math.sqrt(n * p * (1 - p)) + 1
        k = n * p + spread * self.rng.choice([self.rng.gauss(0, 1.5), self.rng.uniform(-38, 38)])
        return min(max(int(k), 0), n), n, p

    def hypergeometric(self):
        population = self.count() + 1
        successes = self.rng.choice([self.rng.randint(0, population), min(population, self.count())])
        draws = self.rng.choice([self.rng.randint(0, population), min(population, self.count())])
        low, high = max(0, successes + draws - population), min(successes, draws)
        mean = successes * draws / population
        k = int(mean + (math.sqrt(mean) + 1) * self.rng.gauss(0, self.rng.choice([1, 10])))
        return min(max(k, low), high), population, successes, draws

    def arguments(self, name):
        rng = self.rng
        if name in ("normal_cdf", "normal_survival", "normal_two_sided", "normal_density"):
            return (rng.choice([rng.uniform(-37.5, 37.5), rng.gauss(0, 1), 10 ** rng.uniform(-12, 1)]),)
        if name == "ln_normal_survival":
            return (rng.choice([rng.uniform(-37.5, 60), rng.gauss(0, 2), 10 ** rng.uniform(-8, 5)]),)
        if name in ("normal_quantile", "normal_critical"):
            return (self.area(),)
        if name in ("student_quantile", "student_critical", "chi_square_quantile_upper"):
            return self.area(), self.df()
        if name == "beta_quantile":
            return self.area(), self.parameter(), self.parameter()
        if name == "ln_beta":
            return self.parameter(), self.parameter()
        if name == "ln_gamma":
            return (rng.choice([10 ** rng.uniform(-10, 0), rng.uniform(0, 10), 10 ** rng.uniform(0, 12)]),)
        if name in ("binomial_cdf", "binomial_survival"):
            k, n, p = self.binomial()
            return min(k, n - 1), n, p
        if name == "ln_binomial_mass":
            return self.binomial()
        if name == "ln_hypergeometric_mass":
            return self.hypergeometric()
        if name == "lambert_w_minus_1":
            # -alpha^2 / e and the whole range beside it.
            near = -(1 - 10 ** rng.uniform(-12, 0)) / math.e
            return (rng.choice([-(rng.uniform(0, 1) ** 2) / math.e, -(10 ** rng.uniform(-300, -0.44)), near]),)
        # Areas at values from one tail to the other, which only the quantile knows, and at values of any size.
        quantile = {"student": "student_quantile", "chi": "chi_square_quantile_upper"}.get(name.split("_")[0], "beta_quantile")
        given = self.arguments(quantile)
        kind = rng.random()
        if kind < 0.85:
            return ("at", quantile, *given)
        if quantile == "student_quantile":
            return rng.choice([-1, 1]) * 10 ** rng.uniform(-9, 3), given[1]
        if quantile == "beta_quantile":
            small = [10 ** rng.uniform(-300, 0), 10 ** rng.uniform(-12, 0)]
            x = rng.choice([rng.uniform(0, 1), *small, 1 - 10 ** rng.uniform(-15, 0)])
            return min(max(x, 1e-300), 1 - 1e-16), *given[1:]
        return given[1] * 10 ** rng.uniform(-2, 2), given[1]


def run(program, lines):
    text = "\n".join(f"{name} {' '.join(map(repr, arguments))}" for name, arguments in lines)
    output = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout
    return [float(word) for word in output.split()]


def drawn(program, each, seed):
    """Lines of (name, arguments); those at a quantile get it from the program, as a mere choice of where to look."""
    draw = Draw(seed)
    lines = [(name, draw.arguments(name)) for name in [*VALUES, *QUANTILES] for _ in range(each)]
    at = [(k, name, arguments) for k, (name, arguments) in enumerate(lines) if arguments[0] == "at"]
    for (k, name, arguments), x in zip(at, run(program, [(arguments[1], arguments[2:]) for _, _, arguments in at])):
        if "beta" in name:
            x = min(max(x, 1e-300), 1 - 1e-16)
        lines[k] = name, (max(x, 1e-300) if "chi" in name else x, *arguments[3:])
    return lines


def evaluated(program, lines):
    found = run(program, lines)
    with Pool(2) as pool:
        return pool.map(compare, [(name, arguments, value) for (name, arguments), value in zip(lines, found)], chunksize=64)


def own_digit(name, arguments):
    """What half of the last digit of the first argument changes of a value, relative to it."""
    mp.mp.dps = 50
    numbers = [exact(number) for number in arguments]
    if name in QUANTILES or len(arguments) > 3 or name.startswith("binomial"):
        return None
    here, there = (VALUES[name](numbers[0] * (1 + k * mp.mpf(2) ** -53), *numbers[1:]) for k in (0, 1))
    return float(abs(there - here) / (max(1, abs(here)) if is_logarithm(name) else abs(here))) if here and there else None


def check(program, total, seed=20_260_105):
    each = -(-total // (len(VALUES) + len(QUANTILES)))
    lines = drawn(program, each, int(seed))
    results = defaultdict(list)
    for name, *result in evaluated(program, lines):
        results[name].append(result)
    failed = False
    print("worst error: where; what half of the last digit of the first argument makes there")
    print(f"{'function':27}{'compared':>9}{'worst':>9}{'limit':>7}")
    for name, rows in results.items():
        limit = 1e-11 if name in QUANTILES else 1e-12
        arguments, found, error, own, _ = max(rows, key=lambda row: abs(row[2]))
        own = own_digit(name, arguments) if own is None else own
        compared = sum(row[4] is not None for row in rows)
        print(f"{name:27}{compared:9}{abs(error):9.1e}{limit:7.0e}  {arguments} -> {found!r}" + (f"; {own:.1e}" if own else ""))
        area = name not in QUANTILES and name.endswith(("cdf", "survival", "two_sided")) and not name.startswith("ln_")
        outside = area and any(not 0 <= row[1] <= 1 for row in rows)
        failed |= outside or not abs(error) <= limit
    print(f"{len(lines)} arguments, seed {seed}")
    sys.exit("an error is above its limit, or an area outside [0, 1]" if failed else 0)


def time(program, total):
    lines = drawn(program, -(-total // (len(VALUES) + len(QUANTILES))), 20_260_106)
    text = "\n".join(f"{name} {' '.join(map(repr, arguments))}" for name, arguments in lines)
    output = subprocess.run([program, "--time"], input=text, capture_output=True, text=True, check=True).stdout
    print(f"{'function':27}{'mean':>9}{'most':>9} ns")
    for name, mean, most in map(str.split, output.splitlines()):
        print(f"{name:27}{mean:>9}{most:>9}")


def edges(program):
    """Where one method of computation meets the next, and the ends of the parameters."""
    degrees = [1.0, 2.0, 3.0, 39.0, 39.99, 40.0, 41.0, 1e6, 1e12]
    parameters = [0.0999, 0.1, 1.0, 19.99, 20.0, 2999.0, 3000.0, 1e9]
    areas = [1e-300, 1e-12, 0.05, 0.5, 0.6]
    pairs = [(a, b) for a in parameters for b in parameters]
    quantiles = [("student_quantile", (area, df)) for area in areas for df in degrees]
    quantiles += [("chi_square_quantile_upper", (area, df)) for area in areas for df in degrees]
    quantiles += [("beta_quantile", (area, a, b)) for area in (1e-300, 0.05, 0.6) for a, b in pairs]
    lines = []
    for (name, (_, *rest)), x in zip(quantiles, run(program, quantiles)):
        if name == "beta_quantile":
            lines += [(f, (x, *rest)) for f in ("beta_cdf", "beta_survival") if 1e-300 < x < 1]
        else:
            family = name.rsplit("_quantile")[0]
            lines += [(f"{family}_{side}", (x, *rest)) for side in ("cdf", "survival")]
    lines += [("beta_cdf", (a / (a + b), a, b)) for a, b in pairs]
    lines += [("beta_cdf", (x, 0.5, b)) for b in (1.0, 20.0, 1e9) for x in (0.4999, 0.5, 0.5001, 0.5 / (b + 1))]
    lines += [("chi_square_survival", (x, df)) for df in degrees for x in (0.9999, 1.0, df)]
    lines += [("student_two_sided", (t, df)) for df in degrees for t in (1e-9, 1.732, 1.7321, 30.0)]
    lines += [("ln_normal_survival", (z,)) for z in (-30.0, 0.0, 29.99, 30.0, 1e5)]
    return quantiles + lines


def vectors(program):
    lines = edges(program) + drawn(program, 100, 20_260_107)
    cases = []
    for name, arguments, _, error, _, expected in evaluated(program, lines):
        # Next to 1 only a bracket of the quantile is known.
        if expected is not None and error != 1e-15:
            cases.append({"function": name, "arguments": arguments, "expected": shown(expected)})
            known(name, arguments, expected)
    write("special_functions.json", cases)


def known(name, arguments, expected):
    """Checks a reference against SciPy where SciPy holds."""
    theirs = {
        "normal_cdf": lambda z: special.ndtr(z),
        "normal_quantile": lambda p: special.ndtri(p),
        "ln_normal_survival": lambda z: special.log_ndtr(-z),
        "student_cdf": lambda t, df: special.stdtr(df, t) if df < 1e3 else None,
        "chi_square_cdf": lambda x, df: special.chdtr(df, x) if df < 1e3 else None,
        "chi_square_survival": lambda x, df: special.chdtrc(df, x) if df < 1e3 else None,
        "chi_square_quantile_upper": lambda area, df: special.chdtri(df, area) if df < 1e3 else None,
        "beta_cdf": lambda x, a, b: special.betainc(a, b, x) if max(a, b) < 1e3 else None,
        "beta_survival": lambda x, a, b: special.betaincc(a, b, x) if max(a, b) < 1e3 else None,
        "beta_quantile": lambda p, a, b: special.betaincinv(a, b, p) if max(a, b) < 1e3 else None,
        "binomial_cdf": lambda k, n, p: special.bdtr(k, n, p) if n < 1e3 else None,
        "binomial_survival": lambda k, n, p: special.bdtrc(k, n, p) if n < 1e3 else None,
        "ln_beta": lambda a, b: special.betaln(a, b) if max(a, b) < 1e3 else None,
        "ln_gamma": lambda x: special.gammaln(x),
        "lambert_w_minus_1": lambda x: special.lambertw(x, -1).real,
    }.get(name, lambda *_: None)(*arguments)
    if theirs is not None and theirs > 1e-250:
        agree(expected, theirs, 1e-8)


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "vectors":
        vectors(rest[0] if rest else PROGRAM)
    else:
        total, path, *seed = [*rest, *("100000", PROGRAM)[len(rest) :]]
        {"check": check, "time": time}[mode](path, int(total), *seed)
