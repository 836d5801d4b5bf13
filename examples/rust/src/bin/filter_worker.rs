//! The worker of the example zero_copy_image_pipeline: blurs grey images until an empty one comes.
//!
//! Started by a program in another language, which handed it two queues by name and told it how many pixels a row has.
//! A message is an image, byte by byte, and stays where its sender wrote it, in shared memory: of its two million
//! pixels only a few rows at a time are copied here, into this processor's cache.

use std::error::Error;

use tasuki::Queue;
use tasuki::queues::View;

#[tasuki::main]
fn main() -> Result<(), Box<dyn Error>> {
    let width = std::env::args().nth(1).ok_or("say how many pixels a row has")?.parse()?;
    let images = tasuki::inherited::<Queue<Vec<u8>>>("images")?;
    let blurred = tasuki::inherited::<Queue<Vec<u8>>>("blurred")?;
    loop {
        let image = images.get_view()?;
        if image.is_empty() {
            return Ok(());
        }
        blurred.put(blur(&image, width))?;
    }
}

/// Each pixel is the mean of itself and its eight neighbours; those at the border stay as they are.
fn blur(image: &View, width: usize) -> Vec<u8> {
    let height = image.len() / width;
    let mut result = Vec::with_capacity(image.len());
    // Three rows, and the sums of three pixels above each other.
    let mut rows = [vec![0; width], vec![0; width], vec![0; width]];
    let mut sums = vec![0_u16; width];
    for y in 0..height {
        for (row, at) in rows.iter_mut().zip([y.saturating_sub(1), y, y + 1]) {
            image.read_at(row, at * width);
        }
        let [above, here, below] = &rows;
        let start = result.len();
        result.extend_from_slice(here);
        if y == 0 || y + 1 == height {
            continue;
        }
        for (x, sum) in sums.iter_mut().enumerate() {
            *sum = u16::from(above[x]) + u16::from(here[x]) + u16::from(below[x]);
        }
        for (pixel, sum) in result[start + 1..].iter_mut().zip(sums.windows(3)) {
            *pixel = (sum.iter().sum::<u16>() / 9) as u8;
        }
    }
    result
}
