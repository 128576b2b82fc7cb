//! Users, mean and sum of squares of a stream of values, and with a covariate the sum of products: what means are tested
//! by, gathered row by row, in parts, and merged.
//!
//! Why this module exists: Σy² − (Σy)²/n loses every digit of a variance that is small beside the mean. Here are the sums
//! about the mean, after Welford (1962, Technometrics 4) for a row and Chan, Golub & LeVeque (1983, The American
//! Statistician 37) for a part. Their mean, too, is a sum that rounds at every step, at 10⁹ by 10⁻⁷, which then is in every
//! deviation from it. So the mean is kept as a double and what that leaves off (Knuth, The Art of Computer Programming 2,
//! 4.2.2), and order and partition show in the last digits only.
//!
//! Counts are doubles, exact to 2⁵³, because an array of doubles is what these are stored as.

use super::InvalidArgument;
use super::covariate::CovariateSample;
use super::mean::Sample;

/// A mean and the sum of squares about it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Centre {
    mean: f64,
    /// Σ(y − mean)².
    squares: f64,
    /// The exact mean less `mean`.
    rest: f64,
}

impl Centre {
    /// Adds a value that makes up `share` of all from now on; its distances from the mean before and after.
    ///
    /// The share is not of the value, so the processor divides while it waits for the mean of the row before.
    #[inline(always)]
    fn add(&mut self, value: f64, share: f64) -> (f64, f64) {
        let before = (value - self.mean) - self.rest;
        let step = before * share;
        let after = before - step;
        self.squares += before * after;
        self.shift(step);
        (before, after)
    }

    /// Adds a part that makes up `share` of all from now on, where `own` rows were before; the distance of its mean.
    fn merge(&mut self, part: &Centre, own: f64, share: f64) -> f64 {
        let distance = (part.mean - self.mean) + (part.rest - self.rest);
        self.squares += part.squares + (distance * (own * share)) * distance;
        self.shift(distance * share);
        distance
    }

    #[inline(always)]
    fn shift(&mut self, step: f64) {
        let step = self.rest + step;
        let mean = self.mean + step;
        let added = mean - self.mean;
        self.rest = (self.mean - (mean - added)) + (step - added);
        self.mean = mean;
    }

    /// What came of a value or part that was not finite, or too far from the others to be squared.
    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.squares < f64::INFINITY
    }

    fn variance(&self, n: f64) -> f64 {
        if n > 1.0 { self.squares / (n - 1.0) } else { 0.0 }
    }

    fn is_possible(&self) -> bool {
        self.mean.is_finite() && self.rest.is_finite() && self.squares >= 0.0 && self.squares.is_finite()
    }
}

/// Refuses the value that was added last.
#[cold]
fn unsound(argument: &'static str, value: f64) -> InvalidArgument {
    let requirement = if value.is_finite() {
        "near enough to the other values for the squares of their distances to be summed in a double"
    } else {
        "a finite number"
    };
    InvalidArgument::new(argument, value, requirement)
}

fn check_possible(is_possible: bool, numbers: &[f64]) -> Result<(), InvalidArgument> {
    if is_possible {
        Ok(())
    } else {
        Err(InvalidArgument::new("state", format_args!("{numbers:?}"), "what ab_moments answered"))
    }
}

fn is_count(n: f64) -> bool {
    n >= 0.0 && n.fract() == 0.0 && n <= 9_007_199_254_740_992.0
}

/// The moments of one value per row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    n: f64,
    value: Centre,
}

impl Moments {
    /// As stored: rows, mean, sum of squares about the mean, and what the mean leaves off. Not checked, for the next row.
    #[inline(always)]
    pub fn of([n, mean, squares, rest]: [f64; 4]) -> Moments {
        Moments { n, value: Centre { mean, squares, rest } }
    }

    /// As stored, by whomever.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `state` for numbers that no rows have.
    pub fn stored(numbers: [f64; 4]) -> Result<Moments, InvalidArgument> {
        let moments = Moments::of(numbers);
        check_possible(is_count(moments.n) && moments.value.is_possible(), &numbers)?;
        Ok(moments)
    }

    /// What [`Moments::of`] takes.
    #[inline(always)]
    pub fn numbers(&self) -> [f64; 4] {
        [self.n, self.value.mean, self.value.squares, self.value.rest]
    }

    /// Adds a row. After an error the moments are of no use any more.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `argument` for a value that is not finite, or so great that its square is not.
    #[inline(always)]
    pub fn add(&mut self, argument: &'static str, value: f64) -> Result<(), InvalidArgument> {
        self.n += 1.0;
        self.value.add(value, 1.0 / self.n);
        if self.value.is_sound() { Ok(()) } else { Err(unsound(argument, value)) }
    }

    /// Adds the rows of another part.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `state` where the squares of both leave the range of a double.
    pub fn merge(&mut self, part: &Moments) -> Result<(), InvalidArgument> {
        if self.n == 0.0 {
            *self = *part;
            return Ok(());
        }
        if part.n == 0.0 {
            return Ok(());
        }
        let own = self.n;
        self.n += part.n;
        self.value.merge(&part.value, own, part.n / self.n);
        if self.value.is_sound() { Ok(()) } else { Err(unsound("state", part.value.mean)) }
    }

    /// Rows, mean and sample variance.
    pub fn sample(&self) -> Sample {
        Sample { n: self.n as i64, mean: self.value.mean, variance: self.value.variance(self.n) }
    }
}

/// The moments of two values per row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairMoments {
    n: f64,
    y: Centre,
    x: Centre,
    /// Σ(y − mean of y)(x − mean of x).
    products: f64,
}

impl PairMoments {
    /// As stored: as for [`Moments::of`] of y, then mean, squares and rest of x, and the sum of products. Not checked.
    #[inline(always)]
    pub fn of(numbers: [f64; 8]) -> PairMoments {
        let [n, mean, squares, rest, other_mean, other_squares, other_rest, products] = numbers;
        PairMoments {
            n,
            y: Centre { mean, squares, rest },
            x: Centre { mean: other_mean, squares: other_squares, rest: other_rest },
            products,
        }
    }

    /// As stored, by whomever.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `state` for numbers that no rows have.
    pub fn stored(numbers: [f64; 8]) -> Result<PairMoments, InvalidArgument> {
        let moments = PairMoments::of(numbers);
        let PairMoments { n, y, x, products } = moments;
        // The bound of Cauchy and Schwarz, but for rounding.
        let most = y.squares.sqrt() * x.squares.sqrt() * (1.0 + 1e-9);
        let is_possible = is_count(n) && y.is_possible() && x.is_possible() && products.abs() <= most;
        check_possible(is_possible, &numbers)?;
        Ok(moments)
    }

    /// What [`PairMoments::of`] takes.
    #[inline(always)]
    pub fn numbers(&self) -> [f64; 8] {
        let (y, x) = (&self.y, &self.x);
        [self.n, y.mean, y.squares, y.rest, x.mean, x.squares, x.rest, self.products]
    }

    /// Adds a row. After an error the moments are of no use any more.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming one of `arguments` for a value that is not finite, or so great that its square is not.
    #[inline(always)]
    pub fn add(&mut self, arguments: [&'static str; 2], y: f64, x: f64) -> Result<(), InvalidArgument> {
        self.n += 1.0;
        let share = 1.0 / self.n;
        let (before, _) = self.y.add(y, share);
        let (_, after) = self.x.add(x, share);
        self.products += before * after;
        if !self.y.is_sound() {
            return Err(unsound(arguments[0], y));
        }
        if self.x.is_sound() { Ok(()) } else { Err(unsound(arguments[1], x)) }
    }

    /// Adds the rows of another part.
    ///
    /// # Errors
    /// [`InvalidArgument`] naming `state` where the squares of both leave the range of a double.
    pub fn merge(&mut self, part: &PairMoments) -> Result<(), InvalidArgument> {
        if self.n == 0.0 {
            *self = *part;
            return Ok(());
        }
        if part.n == 0.0 {
            return Ok(());
        }
        let own = self.n;
        self.n += part.n;
        let share = part.n / self.n;
        let y = self.y.merge(&part.y, own, share);
        let x = self.x.merge(&part.x, own, share);
        self.products += part.products + (y * (own * share)) * x;
        if !self.y.is_sound() {
            return Err(unsound("state", part.y.mean));
        }
        if self.x.is_sound() { Ok(()) } else { Err(unsound("state", part.x.mean)) }
    }

    /// Rows, means, sample variances and sample covariance.
    pub fn sample(&self) -> CovariateSample {
        let n = self.n;
        CovariateSample {
            n: n as i64,
            mean: self.y.mean,
            variance: self.y.variance(n),
            covariate_mean: self.x.mean,
            covariate_variance: self.x.variance(n),
            covariance: if n > 1.0 { self.products / (n - 1.0) } else { 0.0 },
        }
    }
}
